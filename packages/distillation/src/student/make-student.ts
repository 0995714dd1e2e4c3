import { LfmError, type Model } from "@lfm/core";
import { everyLayer, keepLayers } from "./layers.js";
import { narrow } from "./narrow.js";
import type { Narrowing } from "./reducers.js";

/** How a student is made of its teacher. */
export interface StudentOptions {
  /** Blocks of the teacher that are kept, in this order. */
  readonly layers?: readonly number[];
  /** Instead: every n-th block. */
  readonly every?: number;
  /** Width of the stream. */
  readonly width?: number;
  /** Units of each MLP. Default the width's share. */
  readonly inner?: number;
  /** How the stream is made narrower. Default "svd". */
  readonly by?: Narrowing;
}

/** A student and how it began. */
export interface MadeStudent {
  readonly model: Model;
  /** What was done to the teacher, for whoever asks later. */
  readonly initialisation: {
    readonly from: "teacher";
    readonly layers: readonly number[];
    readonly width: number;
    readonly by?: Narrowing;
  };
}

/**
 * A smaller model out of a larger one, by leaving blocks out and making the rest narrower; its weights come from the larger one's.
 * @throws {LfmError} CONFIG_INVALID for sizes and layers that do not go together, CAPABILITY_MISSING for a model that has no such blocks
 */
export function makeStudent(teacher: Model, { layers, every, width, inner, by = "svd" }: StudentOptions): MadeStudent {
  if (layers && every !== undefined)
    throw new LfmError("CONFIG_INVALID", "[@lfm/distillation] layers are named, or every n-th is kept; not both", { hint: "--every 2" });
  const count = teacher.info.sites.filter((s) => s.kind === "block").length;
  const kept = layers ?? (every === undefined ? undefined : everyLayer(count, every));
  const shorter = kept ? keepLayers(teacher, kept) : teacher;
  const narrower =
    width === undefined && inner === undefined
      ? shorter
      : narrow(shorter, { by, ...(width === undefined ? {} : { width }), ...(inner === undefined ? {} : { inner }) });
  if (!kept && narrower === teacher)
    throw new LfmError("CONFIG_INVALID", "[@lfm/distillation] the student is the teacher: nothing is left out", {
      hint: "--every 2, or --width",
    });
  return {
    model: narrower,
    initialisation: {
      from: "teacher",
      layers: kept ?? Array.from({ length: count }, (_, i) => i),
      width: narrower.info.hiddenSize,
      ...(narrower === shorter ? {} : { by }),
    },
  };
}
