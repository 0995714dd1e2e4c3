/**
 * LoraHub (arXiv 2307.13269): LoRA modules of other tasks are composed for a new one, Â = ΣwᵢAᵢ and B̂ = ΣwᵢBᵢ, with weights found from a few
 * examples without gradients: least loss + penalty·mean|wᵢ|, |wᵢ| ≤ 1.5, from w = 0.
 */

import {
  compile,
  type Delta,
  defineMethod,
  deltasInput,
  f32,
  type HostTensor,
  LfmError,
  type Model,
  matmul,
  modelInput,
  type ParamTree,
  reshape,
  throwIfAborted,
  type Weight,
  withDeltas,
} from "@lfm/core";
import { elitistCmaEs, minimise } from "@lfm/core/linalg";
import { type LearningTask, scoredLoss, taskInput } from "@lfm/train";
import { z } from "zod";

export interface LoraHubInputs {
  readonly model: Model;
  /** LoRA modules of equal rank and scale on this model, by name. */
  readonly modules: Readonly<Record<string, Delta>>;
  /** The few examples of the new task. */
  readonly task: LearningTask;
}

export interface LoraHubOutput {
  /** The composed module: a LoRA like those that went in. */
  readonly delta: Delta;
  readonly model: Model;
  readonly weights: Readonly<Record<string, number>>;
  readonly curves: Readonly<Record<string, readonly (readonly [number, number])[]>>;
}

const config = z.strictObject({
  steps: z.number().int().positive().default(40).describe("evaluations of the loss"),
  batches: z.number().int().positive().default(1).describe("batches of the task that an evaluation reads, always the same"),
  bound: z.number().positive().default(1.5).describe("largest |w| of a module"),
  penalty: z.number().min(0).default(0.05).describe("factor of mean |w|, added to the loss"),
  sigma: z.number().positive().default(0.5).describe("standard deviation of the first steps"),
});

export const loraHub = defineMethod({
  id: "lora-hub",
  paradigm: "reuse",
  summary: "Composes LoRA modules of other tasks for a new one from a few examples, without gradients.",
  paper: {
    title: "LoraHub: Efficient Cross-Task Generalization via Dynamic LoRA Composition",
    arxiv: "2307.13269",
    year: 2023,
    survey: "5.1 weight interpolation",
  },
  needs: ["weights", "logits", "labels"],
  inputs: {
    model: { kind: modelInput, as: "base", about: "the model that the adapters lie on" },
    modules: deltasInput,
    task: { kind: taskInput, about: "the few examples of the new task" },
  },
  config,
  run: async (inputs: LoraHubInputs, c, context): Promise<LoraHubOutput> => {
    const { model, task } = inputs;
    const names = Object.keys(inputs.modules);
    const modules = checkModules(names, Object.values(inputs.modules));
    const [first] = modules;
    const stacks = Object.fromEntries(Object.keys(first!.tensors).map((key) => [key, stack(key, modules)]));
    const shapes = Object.fromEntries(Object.entries(first!.tensors).map(([key, t]) => [key, t.shape]));
    const f = await compile(
      context.engine,
      { batch: task.batch, w: { dtype: "f32", shape: [1, modules.length] } },
      ({ batch, w }, params: ParamTree) => {
        const composed = Object.fromEntries(
          Object.keys(stacks).map((key) => [key, reshape(matmul(w, params[stackName(key)]!), shapes[key]!)]),
        );
        const tree = { ...params, ...Object.fromEntries(Object.entries(composed).filter(([key]) => key in model.params)) };
        const answers = model.forward(tree, task.input(batch), { mode: "eval", hooks: first!.hooks(composed) });
        return { loss: scoredLoss(task.scored(answers, batch)).loss };
      },
      {
        frozen: { ...model.params, ...Object.fromEntries(Object.entries(stacks).map(([key, t]) => [stackName(key), t])) } as Record<
          string,
          Weight
        >,
      },
    );
    const few = Array.from({ length: c.batches }, (_, i) => task.batches(i));
    const loss = async (w: readonly number[]): Promise<number> => {
      throwIfAborted(context.signal, "[@lfm/reuse] lora-hub");
      let total = 0;
      for (const batch of few) total += Number((await f({ batch, w: f32(w, [1, w.length]) })).loss.data[0]);
      return total / few.length + (c.penalty * w.reduce((s, v) => s + Math.abs(v), 0)) / w.length;
    };
    try {
      const start = names.map(() => 0);
      const search = elitistCmaEs({ start, sigma: c.sigma, bound: c.bound, rng: context.rng.split("evolution") });
      const found = await minimise(loss, search, {
        evaluations: c.steps,
        onEvaluation: async (done, best) => {
          context.progress({ phase: "lora-hub", done, total: c.steps, unit: "evaluation", values: { loss: best } });
          await new Promise<void>((resolve) => setImmediate(resolve));
        },
      });
      const tensors = Object.fromEntries(Object.entries(stacks).map(([key, t]) => [key, combined(t, found.x, shapes[key]!)]));
      const delta: Delta = { ...first!, tensors };
      return {
        delta,
        model: withDeltas(model, [delta]),
        weights: Object.fromEntries(names.map((name, i) => [name, found.x[i]!])),
        curves: { loss: found.curve },
      };
    } finally {
      await f.dispose();
    }
  },
});

/** One kind, one scale, the same layers and shapes. @throws {LfmError} CONFIG_INVALID, SHAPE_MISMATCH */
function checkModules(names: readonly string[], modules: readonly Delta[]): readonly Delta[] {
  const [first] = modules;
  if (!first) throw new LfmError("CONFIG_INVALID", "[@lfm/reuse] lora-hub: there is no module to compose");
  for (const [i, m] of modules.entries()) {
    if (m.method !== "tuning/lora")
      throw new LfmError("CONFIG_INVALID", `[@lfm/reuse] lora-hub: "${names[i]}" is made by ${m.method}, it is no LoRA`);
    for (const key of ["r", "loraAlpha", "useRslora"])
      if (m.config[key] !== first.config[key])
        throw new LfmError(
          "CONFIG_INVALID",
          `[@lfm/reuse] lora-hub: ${key} is ${String(first.config[key])} in "${names[0]}" but ${String(m.config[key])} in "${names[i]}"`,
        );
    const keys = new Set([...Object.keys(first.tensors), ...Object.keys(m.tensors)]);
    for (const key of keys)
      if (first.tensors[key]?.shape.join() !== m.tensors[key]?.shape.join())
        throw new LfmError("SHAPE_MISMATCH", `[@lfm/reuse] lora-hub: "${key}" differs between "${names[0]}" and "${names[i]}"`);
  }
  return modules;
}

const stackName = (key: string): string => `lora-hub.${key}`;

/** f32[modules, elements] */
function stack(key: string, modules: readonly Delta[]): HostTensor {
  const size = modules[0]!.tensors[key]!.data.length;
  const data = new Float32Array(modules.length * size);
  for (const [i, m] of modules.entries()) data.set(m.tensors[key]!.data as Float32Array, i * size);
  return { dtype: "f32", shape: [modules.length, size], data };
}

function combined({ data, shape: [, size] }: HostTensor, w: readonly number[], shape: readonly number[]): HostTensor {
  const out = Float32Array.from({ length: size! }, (_, j) => w.reduce((s, v, i) => s + v * Number(data[i * size! + j]), 0));
  return { dtype: "f32", shape, data: out };
}
