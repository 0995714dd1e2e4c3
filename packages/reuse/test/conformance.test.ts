import {
  compileModel,
  type Engine,
  f32,
  isLfmError,
  type MethodContext,
  type Model,
  ortEngine,
  Rng,
  runMethod,
  withDeltas,
} from "@lfm/core";
import { conformMethod } from "@lfm/core/testing";
import { initWeights, mlp } from "@lfm/models";
import { beforeAll, describe, expect, it } from "vitest";
import { type EnsembleOutput, ensemble, type MergeInputs, type MergeOutput, mergeMethods, type ties } from "../src/index.js";
import { deltaThroughBytes, throughBytes } from "./through-bytes.js";

const planned = mlp({ input_size: 3, hidden_sizes: [5], output_size: 4 });
const member = (seed: number): Model => ({ ...planned, params: initWeights(planned.info, { seed }) });
let engine: Engine;
let context: MethodContext;
beforeAll(async () => {
  engine = await ortEngine({ threads: 1 });
  context = { engine, rng: new Rng(1), access: ["weights", "logits"], log: () => {}, progress: () => {} };
});

const x = f32(new Rng(9).normalArray(18), [6, 3]);

/** Logits f32[6, 4] of a model. */
async function answers(model: Model): Promise<Float32Array> {
  const f = await compileModel(engine, model, { x: { dtype: "f32", shape: [6, 3] } }, (input, params, at) => ({
    y: at.forward(params, { features: input.x }, { mode: "eval" }).logits!,
  }));
  const out = await f({ x });
  await f.dispose();
  return (out.y.data as Float32Array).slice();
}
const softmax = (row: readonly number[]): number[] => {
  const e = row.map((v) => Math.exp(v - Math.max(...row)));
  const total = e.reduce((a, b) => a + b, 0);
  return e.map((v) => v / total);
};
const rows = (data: Float32Array): number[][] => Array.from({ length: 6 }, (_, i) => Array.from(data.subarray(4 * i, 4 * i + 4)));

describe("the contract of methods", () => {
  it.each(mergeMethods.filter((m) => !m.merging.statistics).map((m) => [m.id, m] as const))("%s", async (_, method) => {
    const models = Object.entries({ a: member(2).params, b: member(3).params }).slice(0, method.merging.models[1]);
    await conformMethod<MergeInputs, MergeOutput, typeof ties.config>(method as typeof ties, {
      engine,
      inputs: () => ({ base: member(1).params, models: Object.fromEntries(models) }),
      observe: ({ delta }) => delta,
      answers: {
        of: ({ delta }) => answers(withDeltas(member(1), [delta])),
        base: () => answers(member(1)),
      },
      reload: async ({ delta }) => ({ delta: await deltaThroughBytes(method, delta) }),
    });
  });

  it("ensemble", async () => {
    await conformMethod(ensemble, {
      engine,
      inputs: () => ({ members: [member(2), member(3)] }),
      instant: true,
      observe: ({ model }: EnsembleOutput) => model.params,
      reload: async ({ model, weights }) => ({ model: { ...model, params: await throughBytes(model.params) }, weights }),
    });
  });
});

describe("ensemble", () => {
  const members = [member(2), member(3), member(4)];
  const run = async (config: object): Promise<number[][]> =>
    rows(await answers((await runMethod(ensemble, { members }, config, context)).model));

  it("combines what its members say, by formula", async () => {
    const each: number[][][] = [];
    for (const m of members) each.push(rows(await answers(m)));
    const w = [1, 2, 3];
    const weighted = (f: (row: number[]) => number[]): number[][] =>
      each[0]!.map((_, i) => each[0]![i]!.map((_, j) => each.reduce((s, e, k) => s + (w[k]! / 6) * f(e[i]!)[j]!, 0)));
    const near = (a: number[][], b: number[][]): void => {
      for (const [i, row] of a.entries()) for (const [j, v] of row.entries()) expect(v).toBeCloseTo(b[i]![j]!, 4);
    };
    near(
      await run({ mode: "logits", weights: w }),
      weighted((r) => r),
    );
    near(
      (await run({ mode: "probabilities", weights: w })).map((r) => r.map(Math.exp)),
      weighted(softmax),
    );
    near(
      await run({ mode: "majority", weights: w }),
      weighted((r) => r.map((v) => (v === Math.max(...r) ? 1 : 0))),
    );
    const confident = each[0]!.map((_, i) =>
      each.map((e) => e[i]!).reduce((a, b) => (Math.max(...softmax(b)) > Math.max(...softmax(a)) ? b : a)),
    );
    near(await run({ mode: "max-confidence" }), confident);
  });

  it("of one member answers as the member", async () => {
    const [one] = members;
    const { model } = await runMethod(ensemble, { members: [one!] }, { mode: "logits" }, context);
    expect(await answers(model)).toEqual(await answers(one!));
  });

  it("refuses members that do not fit together, and none at all", async () => {
    const other = mlp({ input_size: 3, hidden_sizes: [5], output_size: 7 });
    const odd = { ...other, params: initWeights(other.info, { seed: 1 }) };
    const error = async (m: readonly Model[]): Promise<unknown> =>
      runMethod(ensemble, { members: m }, {}, context).catch((e: unknown) => e);
    expect(isLfmError(await error([members[0]!, odd]), "SHAPE_MISMATCH")).toBe(true);
    expect(isLfmError(await error([]), "CONFIG_INVALID")).toBe(true);
  });
});
