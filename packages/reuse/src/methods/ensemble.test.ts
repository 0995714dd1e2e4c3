import {
  type Engine,
  f32,
  type HostTensor,
  i32,
  isLfmError,
  type MethodContext,
  type Model,
  needs,
  ortEngine,
  Rng,
  runMethod,
} from "@lfm/core";
import { conformMethod, Draws } from "@lfm/core/testing";
import { mlp } from "@lfm/models";
import { beforeAll, describe, expect, it } from "vitest";
import { readGolden } from "../../test/alignment-golden.js";
import { answersOf, randomParams, smallModels, someInput, withParams } from "../../test/small-models.js";
import { throughBytes } from "../../test/through-bytes.js";
import type { HeldOutBatch } from "../ensembling/held-out.js";
import { mixtureWeights } from "../ensembling/mixture-weights.js";
import { fitStacker } from "../ensembling/stacking.js";
import { type EnsembleOutput, ensemble } from "./ensemble.js";

let engine: Engine;
let context: MethodContext;
beforeAll(async () => {
  engine = await ortEngine({ threads: 1 });
  context = { engine, rng: new Rng(3), access: needs, log: () => {}, progress: () => {} };
});

/** logits = x: a member that says what its input says, and one that says the classes in another order. */
const says = (order: readonly number[], scale = 1): Model => {
  const weight = new Float32Array(9);
  order.forEach((from, to) => {
    weight[3 * to + from] = scale;
  });
  return mlp({ input_size: 3, hidden_sizes: [], output_size: 3 }, { "fc1.weight": f32(weight, [3, 3]), "fc1.bias": f32([0, 0, 0]) });
};

/** Examples whose feature of the label is larger by 3. */
const examples = (seed: number, n: number): HeldOutBatch => {
  const rng = new Rng(seed);
  const labels = Array.from({ length: n }, () => rng.int(3));
  const x = rng.normalArray(3 * n);
  labels.forEach((y, i) => {
    x[3 * i + y]! += 3;
  });
  return { input: { features: f32(x, [n, 3]) }, labels: i32(labels) };
};

const accuracy = async (model: Model, { input, labels }: HeldOutBatch): Promise<number> => {
  const answers = await answersOf(engine, model, input);
  const right = Array.from(labels.data as Int32Array).filter((y, i) => {
    const row = answers.slice(3 * i, 3 * i + 3);
    return row.indexOf(Math.max(...row)) === y;
  });
  return right.length / labels.data.length;
};

describe("weights learned on held-out examples", () => {
  it("hand-worked: the mixture's likeliest weights", () => {
    // Labels' probabilities (.9, .1) once and (.2, .8) once: d/dw log(.1 + .8w) + log(.8 − .6w) = 0: .8(.8 − .6w) = .6(.1 + .8w), so w = .58/.96.
    const log = (...p: number[]): Float64Array => Float64Array.from(p, Math.log);
    const outputs = { classes: 2, labels: Int32Array.of(0, 0), logProbabilities: [log(0.9, 0.1, 0.2, 0.8), log(0.1, 0.9, 0.8, 0.2)] };
    const [w] = mixtureWeights(outputs);
    expect(w).toBeCloseTo(0.58 / 0.96, 8);
  });

  it("a member that is wrong gets nothing; equal members share", async () => {
    const heldOut = [examples(1, 60), examples(2, 60)];
    const good = says([0, 1, 2]);
    const { weights, model } = await runMethod(ensemble, { members: [good, says([1, 2, 0], 3)], heldOut }, { mode: "weighted" }, context);
    expect(weights[0]).toBeGreaterThan(0.97);
    expect(await accuracy(model, examples(3, 200))).toBeGreaterThan(0.9);
    const equal = await runMethod(ensemble, { members: [good, good], heldOut }, { mode: "weighted" }, context);
    expect(equal.weights[0]).toBeCloseTo(0.5, 9);
    const given = await runMethod(ensemble, { members: [good, good] }, { mode: "weighted", weights: [3, 1] }, context);
    expect(given.weights).toEqual([0.75, 0.25]);
  });
});

describe("stacking", () => {
  it("is SciPy's optimum of the same objective", () => {
    type Case = { seed: number; examples: number; classes: number; members: number; l2: number; weight: number[]; bias: number[] };
    for (const c of readGolden<Case[]>("stacking")) {
      const draws = new Draws(c.seed);
      const logits = draws.tensor(c.members, c.examples, c.classes).data as Float32Array;
      const labels = Int32Array.from(draws.array(c.examples), (v) => Math.floor(((v + 1) / 2) * c.classes));
      const size = c.examples * c.classes;
      const logProbabilities = Array.from({ length: c.members }, (_, k) => {
        const out = new Float64Array(size);
        for (let i = 0; i < c.examples; i++) {
          const row = Array.from(logits.subarray(k * size + i * c.classes, k * size + (i + 1) * c.classes), (v) => 3 * v);
          const total = Math.log(row.reduce((s, v) => s + Math.exp(v), 0));
          out.set(
            row.map((v) => v - total),
            i * c.classes,
          );
        }
        return out;
      });
      const { weight, bias } = fitStacker({ classes: c.classes, labels, logProbabilities }, c.l2);
      for (const [k, v] of c.weight.entries()) expect(weight[k]).toBeCloseTo(v, 5);
      for (const [k, v] of c.bias.entries()) expect(bias[k]).toBeCloseTo(v, 5);
    }
  });

  it("puts to use a member that names classes wrongly but reliably, where every vote goes astray", async () => {
    const heldOut = [examples(1, 90)];
    const test = examples(3, 300);
    const members = [says([1, 2, 0]), says([1, 2, 0], 2)];
    const run = async (config: object): Promise<number> =>
      accuracy((await runMethod(ensemble, { members, heldOut }, config, context)).model, test);
    expect(await run({ mode: "majority" })).toBeLessThan(0.1);
    expect(await run({ mode: "probabilities" })).toBeLessThan(0.1);
    expect(await run({ mode: "stacking" })).toBeGreaterThan(0.9);
  });

  it("an endless pull leaves the mean of log-probabilities", async () => {
    const members = [says([0, 1, 2]), says([1, 2, 0], 0.5)];
    const test = examples(3, 20);
    const { model } = await runMethod(ensemble, { members, heldOut: [examples(1, 30)] }, { mode: "stacking", l2: 1e9 }, context);
    const mean = await answersOf(engine, (await runMethod(ensemble, { members }, { mode: "logits" }, context)).model, test.input);
    const stacked = await answersOf(engine, model, test.input);
    // Both up to a constant of the example.
    for (let i = 0; i < 20; i++)
      for (const c of [1, 2]) expect(stacked[3 * i + c]! - stacked[3 * i]!).toBeCloseTo(mean[3 * i + c]! - mean[3 * i]!, 4);
  });

  it("the meta-model is part of the parameters: it survives a file", async () => {
    const { model } = await runMethod(
      ensemble,
      { members: [says([0, 1, 2]), says([1, 2, 0])], heldOut: [examples(1, 50)] },
      { mode: "stacking" },
      context,
    );
    expect((model.params["stacker.weight"] as HostTensor).shape).toEqual([3, 6]);
    expect(Object.keys(model.info.params)).toEqual(expect.arrayContaining(["stacker.weight", "stacker.bias", "member.1.fc1.weight"]));
    const test = examples(3, 20);
    const again = withParams(model, await throughBytes(model.params));
    expect(await answersOf(engine, again, test.input)).toEqual(await answersOf(engine, model, test.input));
  });

  it("needs held-out examples, one class per example, labels in range", async () => {
    const error = async (members: readonly Model[], heldOut?: HeldOutBatch[]): Promise<unknown> =>
      runMethod(ensemble, { members, ...(heldOut ? { heldOut } : {}) }, { mode: "stacking" }, context).catch((e: unknown) => e);
    const good = says([0, 1, 2]);
    expect(isLfmError(await error([good, good]), "CAPABILITY_MISSING")).toBe(true);
    const odd = { ...examples(1, 3), labels: i32([0, 1, 3]) };
    expect(isLfmError(await error([good, good], [odd]), "SHAPE_MISMATCH")).toBe(true);
    const lm = withParams(smallModels.gpt2!(), randomParams(smallModels.gpt2!(), 1));
    const text = [{ input: someInput(lm, 1), labels: i32([0, 0, 0, 0, 0]) }];
    expect(isLfmError(await error([lm, lm], text), "CAPABILITY_MISSING")).toBe(true);
  });
});

it.each(["weighted", "stacking"] as const)("keeps the contract of methods: %s", async (mode) => {
  await conformMethod(ensemble, {
    engine,
    inputs: () => ({ members: [says([0, 1, 2]), says([1, 2, 0], 0.5)], heldOut: [examples(1, 30)] }),
    config: { mode },
    instant: true,
    observe: ({ model, weights }: EnsembleOutput) => ({ params: model.params, weights }),
    reload: async ({ model, weights }) => ({ model: withParams(model, await throughBytes(model.params)), weights }),
  });
});

it("weights that sum to nothing are refused", async () => {
  const error = await runMethod(ensemble, { members: [says([0, 1, 2]), says([0, 1, 2])] }, { weights: [1, -1] }, context).catch(
    (e: unknown) => e,
  );
  expect(isLfmError(error, "CONFIG_INVALID")).toBe(true);
});
