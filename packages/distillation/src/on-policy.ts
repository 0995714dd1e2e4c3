import { type HostTensor, type MethodContext, type Model, makeDelta, replacedParameters, withDeltas } from "@lfm/core";
import { createGenerator, type Generator } from "@lfm/models";
import type { Batch, TrainingState } from "@lfm/train";
import type { z } from "zod";
import { answeredRows, promptsOf } from "./sampled-rows.js";
import type { writingFields } from "./writing-options.js";

/** How a student writes. */
export type WritingConfig = z.output<z.ZodObject<typeof writingFields>> & { readonly samplingTemperature: number };

/** A student that answers prompts as it is at a step of its training. */
export interface StudentWriter {
  /**
   * The prompts of a batch with the student's answers. What is drawn depends on the number of the batch and on the state alone.
   * @param state of a training whose student's tensors stand under `student/`
   */
  answer(batch: Batch, number: number, state: TrainingState): Promise<Batch>;
  dispose(): Promise<void>;
}

/** @param ends tokens that end an answer; the first of them is learned where one did */
export function studentWriter(student: Model, c: WritingConfig, ends: readonly number[], context: MethodContext): StudentWriter {
  const rng = context.rng.split("answers");
  let generator: Generator | undefined;
  return {
    answer: async (batch, number, state) => {
      const now = withDeltas(student, [makeDelta(WRITER, {}, ownTensors(state))]);
      // One session for all steps: what learns is bound anew.
      if (generator) await generator.swap(now);
      else generator = await createGenerator(context.engine, now);
      const prompts = promptsOf(batch, c.opening);
      const found = await generator.generateBatch(prompts, {
        maxNewTokens: c.maxNewTokens,
        temperature: c.samplingTemperature,
        rng: rng.split(number),
        eos: ends,
        ...(context.signal ? { signal: context.signal } : {}),
      });
      return answeredRows(
        prompts,
        found.map(({ tokens, finish }) => (finish === "eos" ? [...tokens, ends[0]!] : tokens)),
      );
    },
    dispose: async () => {
      await generator?.dispose();
    },
  };
}

const WRITER = { id: "writer", paradigm: "distillation", delta: replacedParameters };

function ownTensors({ params, buffers }: TrainingState): Record<string, HostTensor> {
  return Object.fromEntries(
    Object.entries({ ...buffers, ...params }).flatMap(([name, t]) =>
      name.startsWith("student/") ? [[name.slice("student/".length), t]] : [],
    ),
  );
}
