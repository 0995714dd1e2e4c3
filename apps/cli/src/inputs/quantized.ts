import { type Engine, i32, LfmError, type Model } from "@lfm/core";
import { calibrationText, idsOfText, type QuantizedBase, quantizeBase, type TextRules } from "@lfm/models";
import type { JobContext, JobRequest } from "../program/job.js";
import { formatBytes } from "../render/table.js";
import { engineOf } from "./engine.js";

interface Opened {
  readonly name: string;
  readonly model: Model;
  readonly text: TextRules | undefined;
}

/** What a base is for decides which copies of its weights there are. */
export type BaseUse = "training" | "inference";

/** What `--base` asks for. */
export interface BaseWish {
  readonly engine: () => Promise<Engine>;
  readonly use: BaseUse;
}

/** The wish of a request; undefined where weights stay f32. */
export function baseWish(request: JobRequest, use: BaseUse): BaseWish | undefined {
  return request.base === undefined ? undefined : { use, engine: () => engineOf(request) };
}

/** A model with its frozen weights as `--base` asks for, and what that saves said. */
export async function withBase<M extends Opened>(opened: M, wish: BaseWish | undefined, job: JobContext): Promise<M> {
  if (!wish) return opened;
  const { model, ...sizes } = await quantized(opened, wish);
  job.log(`${opened.name}: ${sizes.columns}; ${formatBytes(sizes.bytes)} instead of ${formatBytes(sizes.plainBytes)}`);
  return { ...opened, model };
}

async function quantized({ name, model, text }: Opened, { engine, use }: BaseWish): Promise<QuantizedBase & { readonly columns: string }> {
  if (model.info.input !== "tokens")
    throw new LfmError("CAPABILITY_MISSING", `lfm: --base is for models of text, ${name} reads ${model.info.input}`, {
      hint: "leave --base out",
    });
  const ids = text ? idsOfText(text, calibrationText).slice(0, Math.min(CALIBRATION, model.info.maxLength ?? CALIBRATION)) : undefined;
  const found = await quantizeBase(await engine(), model, {
    training: use === "training",
    ...(ids ? { calibration: i32(ids, [1, ids.length]) } : {}),
  });
  return { ...found, columns: ids ? `weights in 8 bits, outlier columns found on ${ids.length} tokens` : "weights in 8 bits" };
}

/** Tokens that the outlier columns are found on. */
const CALIBRATION = 256;
