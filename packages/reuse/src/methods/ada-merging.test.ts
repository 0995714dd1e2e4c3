import {
  f32,
  type HostTensor,
  isLfmError,
  type MethodContext,
  type Model,
  needs,
  Rng,
  referenceEngine,
  runMethod,
  type Weights,
} from "@lfm/core";
import { mlp } from "@lfm/models";
import type { TaskProbe } from "@lfm/statistics";
import { describe, expect, it } from "vitest";
import { stackTaskVectors, trimVectors } from "../data-driven/task-vector-stack.js";
import { adaMerging } from "./ada-merging.js";

const context: MethodContext = { engine: referenceEngine(), rng: new Rng(0), access: needs, log: () => {}, progress: () => {} };
const planned = mlp({ input_size: 2, hidden_sizes: [], output_size: 2 });
const model = (weight: number[], bias = [0, 0]) => ({
  ...planned,
  params: { "fc1.weight": f32(weight, [2, 2]), "fc1.bias": f32(bias) } as Weights,
});
const base = model([0, 0, 0, 0]);
const probe = (x: number[]): TaskProbe => ({
  name: `at ${x}`,
  batch: { x: { dtype: "f32", shape: [1, 2] } },
  batches: () => ({ x: f32(x, [1, 2]) }),
  input: (batch) => ({ features: batch.x! }),
  scored: ({ logits }) => ({ logits: logits! }),
});
const weights = ({ model }: { readonly model: Model }): number[] => Array.from((model.params["fc1.weight"] as HostTensor).data, Number);

describe("AdaMerging", () => {
  const models = { a: model([1, 0, -1, 0]).params, b: model([0, 2, 0, -2]).params };
  const tasks = { a: probe([1, 0]), b: probe([0, 1]) };

  it("no steps: task arithmetic with λ; λ = 0 gives the base, λ = 1 with one model gives that model", async () => {
    expect(weights(await runMethod(adaMerging, { model: base, models, tasks }, { steps: 0, init: 0.5 }, context))).toEqual([
      0.5, 1, -0.5, -1,
    ]);
    const none = await runMethod(adaMerging, { model: base, models, tasks }, { steps: 0, init: 0 }, context);
    expect(none.model.params).toEqual(base.params);
    const one = await runMethod(adaMerging, { model: base, models: { a: models.a }, tasks }, { steps: 0, init: 1 }, context);
    expect(one.model.params).toEqual(models.a);
  });

  it("hand-worked: Adam's first step moves each λ by η towards more certain answers", async () => {
    // Scaling a task vector up makes its own task's answer more certain: both λ rise by lr.
    const out = await runMethod(adaMerging, { model: base, models, tasks }, { steps: 1, lr: 0.1, init: 0.3 }, context);
    for (const v of out.coefficients["fc1.weight"]!) expect(v).toBeCloseTo(0.4, 5);
    expect(out.curves.loss![0]![1]).toBeCloseTo(entropyOf(0.6) + entropyOf(1.2), 5);
  });

  it("balanced: hand-worked loss, and answers that would all become one are kept apart", async () => {
    // The offset makes both examples answer 0 with certainty, the slope tells them apart.
    const both: TaskProbe = {
      ...probe([1, 0]),
      batch: { x: { dtype: "f32", shape: [2, 2] } },
      batches: () => ({ x: f32([1, 0, 0, 1], [2, 2]) }),
    };
    const vectors = { offset: model([0, 0, 0, 0], [2, -2]).params, slope: model([1, -1, -1, 1]).params };
    const run = (balance: number, steps: number) =>
      runMethod(adaMerging, { model: base, models: vectors, tasks: { offset: both, slope: both } }, { balance, steps, lr: 0.1 }, context);
    const [first, second] = [1.2 + 0.6, 1.2 - 0.6];
    const p = (d: number): number => 1 / (1 + Math.exp(-d));
    const mean = (p(first) + p(second)) / 2;
    const spread = -mean * Math.log(mean) - (1 - mean) * Math.log(1 - mean);
    const own = (entropyOf(first) + entropyOf(second)) / 2;
    expect((await run(1, 1)).curves.loss![0]![1]).toBeCloseTo(2 * (own - spread), 5);
    const answers = async (balance: number): Promise<boolean[]> => {
      const params = (await run(balance, 60)).delta.tensors;
      const [w, b] = [params["fc1.weight"]!.data as Float32Array, params["fc1.bias"]!.data as Float32Array];
      return [0, 1].map((x) => w[x]! + b[0]! > w[2 + x]! + b[1]!);
    };
    expect(await answers(0)).toEqual([true, true]);
    expect(await answers(1)).toEqual([true, false]);
  });

  it("clamped coefficients never leave 0..1", async () => {
    const out = await runMethod(adaMerging, { model: base, models, tasks }, { steps: 20, lr: 0.2, init: 0.9, clamp: true }, context);
    expect(out.coefficients["fc1.weight"]).toEqual([1, 1]);
  });

  it("parameters that no model changed stay as they are, and have no coefficient", async () => {
    const out = await runMethod(adaMerging, { model: base, models, tasks }, { steps: 1 }, context);
    expect(Object.keys(out.coefficients)).toEqual(["fc1.weight"]);
    expect(out.model.params["fc1.bias"]).toEqual(base.params["fc1.bias"]);
  });

  it("says whose examples are missing, and when nothing differs from the base", async () => {
    const error = await runMethod(adaMerging, { model: base, models, tasks: { a: tasks.a } }, {}, context).catch((e: unknown) => e);
    expect(isLfmError(error, "CONFIG_INVALID") && error.message).toContain('"b"');
    const same = await runMethod(adaMerging, { model: base, models: { a: base.params }, tasks }, {}, context).catch((e: unknown) => e);
    expect(isLfmError(same, "CONFIG_INVALID")).toBe(true);
  });
});

describe("task vectors for AdaMerging++", () => {
  it("hand-worked: trimmed over the whole model, then the losing sign dropped", () => {
    const stack = stackTaskVectors(base, { a: model([4, -1, 0.1, 2], [3, 0]).params, b: model([2, 3, 0.2, -1], [-5, 0.5]).params });
    // a keeps 4, 2, 3 of six, b keeps 2, 3, −5; signs: + (4 + 2), + (3), ·, + (2), bias − (3 − 5)
    const { vectors } = trimVectors(stack, 0.5, true);
    expect(Array.from(vectors["fc1.weight"]!.data as Float32Array)).toEqual([4, 0, 0, 2, 2, 3, 0, 0]);
    expect(Array.from(vectors["fc1.bias"]!.data as Float32Array)).toEqual([0, 0, -5, 0]);
    expect(Array.from(trimVectors(stack, 0.5, false).vectors["fc1.bias"]!.data as Float32Array)).toEqual([3, 0, -5, 0]);
  });
});

function entropyOf(difference: number): number {
  const p = 1 / (1 + Math.exp(-difference));
  return -p * Math.log(p) - (1 - p) * Math.log(1 - p);
}
