import {
  type DeltaForm,
  defineMethod,
  type HostTensor,
  type Method,
  type MethodContext,
  makeDelta,
  replacedParameters,
  withDeltas,
} from "@lfm/core";
import type { z } from "zod";
import type { DistillationInputs, DistillationOutput } from "./inputs.js";

/** A distillation method: its result is a student's parameters. */
export interface DistillationMethod<Schema extends z.ZodObject> extends Method<DistillationInputs, DistillationOutput, Schema> {
  readonly delta: DeltaForm<z.output<Schema>>;
}

/** What a student learned, before it is a delta. */
export interface Learned extends Pick<DistillationOutput, "curves" | "queries"> {
  /** Parameters and buffers of the student, by name. */
  readonly tensors: Readonly<Record<string, HostTensor>>;
  readonly monitors?: DistillationOutput["monitors"];
}

export interface StudentSpec<Schema extends z.ZodObject>
  extends Pick<DistillationMethod<Schema>, "id" | "summary" | "paper" | "config" | "presets" | "needs" | "inputs"> {
  /** @throws {LfmError} what the method throws */
  learn(inputs: DistillationInputs, config: z.output<Schema>, context: MethodContext): Promise<Learned>;
}

/** Checks and freezes a method that teaches a student. @throws {LfmError} CONFIG_INVALID for an id that is none */
export function defineStudentMethod<Schema extends z.ZodObject>({ learn, ...described }: StudentSpec<Schema>): DistillationMethod<Schema> {
  const method: DistillationMethod<Schema> = {
    ...described,
    paradigm: "distillation",
    delta: replacedParameters,
    run: async (inputs, c, context) => {
      const { tensors, curves, monitors = [], queries } = await learn(inputs, c, context);
      const delta = makeDelta<z.output<Schema>>(method, c, tensors, { parent: inputs.parent ?? null });
      return { delta, student: withDeltas(inputs.student, [delta]), curves, monitors, ...(queries === undefined ? {} : { queries }) };
    },
  };
  defineMethod(method);
  return Object.freeze(method);
}
