import { adam, cosineSchedule, f32, type MethodContext, type ParamTree, randomNormal, type Tensor } from "@lfm/core";
import { type FitOptions, fit, fitContext, type SideBySide, sideBySide } from "@lfm/train";
import type { Learned } from "./define-student-method.js";
import { type GeneratorShape, generate, initGenerator } from "./generator.js";
import { inGenerator, ofGenerator } from "./generator-parameters.js";
import type { DistillationInputs } from "./inputs.js";
import type { ItemField } from "./invented-items.js";
import { collapseMonitor } from "./mode-collapse.js";

/** Sizes and rates of a generator that learns in the student's steps. */
export interface GeneratorOptions {
  readonly steps: number;
  /** Invented samples of a step. */
  readonly batch: number;
  readonly noise: number;
  readonly width: number;
  /** Peak learning rate, half a cosine down to 0. */
  readonly lr: number;
}

/** One step, traced. */
export interface InventedStep {
  /** f32[batch, …item], as the generator makes it. */
  readonly x: Tensor;
  readonly params: ParamTree;
  readonly pair: SideBySide<"teacher" | "student">;
}

/**
 * A generator and a student that learn in the same steps, each from its own part of the loss.
 * @param loss of both
 * @param optimizer of all parameters; default Adam
 */
export async function learnWithGenerator(
  id: string,
  { teacher, student }: Pick<DistillationInputs, "teacher" | "student">,
  { item, field }: { readonly item: readonly number[]; readonly field: ItemField },
  c: GeneratorOptions,
  context: MethodContext,
  loss: (step: InventedStep) => ReturnType<FitOptions["loss"]>,
  optimizer = adam(),
): Promise<Learned> {
  const shape: GeneratorShape = { noise: c.noise, width: c.width, item };
  const pair = sideBySide({ teacher, student });
  const learning = pair.learning("student");
  const result = await fit({
    ...fitContext(context, id),
    ...learning,
    trainable: { ...learning.trainable, ...inGenerator(initGenerator(shape, context.rng.split("generator"))) },
    batch: { tick: { dtype: "f32", shape: [] } },
    batches: (step) => ({ tick: f32([step], []) }),
    loss: (params, _batch, { key }) =>
      loss({ x: generate(ofGenerator(params), randomNormal(key, [c.batch, c.noise]), shape), params, pair }),
    optimizer,
    lr: c.lr,
    schedule: cosineSchedule(),
    steps: c.steps,
  });
  const monitor = await collapseMonitor(teacher, ofGenerator(result.params), shape, field, context);
  return { tensors: pair.own("student", { ...result.buffers, ...result.params }), curves: result.curves, monitors: [monitor] };
}
