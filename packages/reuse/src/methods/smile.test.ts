import {
  compile,
  type Engine,
  f32,
  type HostTensor,
  isLfmError,
  type MethodContext,
  type Model,
  needs,
  ortEngine,
  type ParamTree,
  Rng,
  runMethod,
} from "@lfm/core";
import { mlp } from "@lfm/models";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { answers, base, tokens, tuned } from "../../test/llama-setting.js";
import { distance } from "../../test/mlp-setting.js";
import { smile } from "./smile.js";

let engine: Engine;
let context: MethodContext;
beforeAll(async () => {
  engine = await ortEngine({ threads: 1 });
  context = { engine, rng: new Rng(1), access: needs, log: () => {}, progress: () => {} };
});
afterAll(() => engine.dispose());

const flat = mlp({ input_size: 2, hidden_sizes: [], output_size: 2 });
const weights = (weight: number[], bias = [0, 0]): Record<string, HostTensor> => ({
  "fc1.weight": f32(weight, [2, 2]),
  "fc1.bias": f32(bias),
});
async function logits(model: Model, x: number[]): Promise<number[]> {
  const rows = x.length / 2;
  const f = await compile(
    engine,
    { x: { dtype: "f32", shape: [rows, 2] } },
    ({ x: features }, params: ParamTree) => ({ y: model.forward(params, { features }, { mode: "eval" }).logits! }),
    { frozen: model.params },
  );
  const { y } = await f({ x: f32(x, [rows, 2]) });
  await f.dispose();
  return Array.from(y.data as Float32Array);
}

describe("SMILE", () => {
  it("hand-worked: each token goes to the expert whose input direction it lies on", async () => {
    const model = { ...flat, params: weights([1, 0, 0, 1]) };
    // Expert a reads input 0 (τ = 3·e₁e₀ᵀ), expert b input 1 (τ = 5·e₀e₁ᵀ), and has a bias of its own.
    const models = { a: weights([1, 0, 3, 1]), b: weights([1, 5, 0, 1], [0.5, 0]) };
    const merged = await runMethod(smile, { model, models }, { k: 1 }, context);
    const got = await logits(merged.model, [2, 1, 1, 2]);
    // (2, 1) → base (2, 1) + a: (0, 6); (1, 2) → base (1, 2) + b: (10 + 0.5, 0)
    for (const [i, v] of [2, 7, 11.5, 2].entries()) expect(got[i]).toBeCloseTo(v, 5);
  });

  it("hand-worked: two experts answer with the softmax of their lengths", async () => {
    const model = { ...flat, params: weights([0, 0, 0, 0]) };
    const models = { a: weights([2, 0, 0, 0]), b: weights([0, 0, 0, 2]) };
    const merged = await runMethod(smile, { model, models }, { topK: 2 }, context);
    const [p, q] = [1 / (1 + Math.exp(1 - 3)), 1 / (1 + Math.exp(3 - 1))];
    const got = await logits(merged.model, [3, 1]);
    for (const [i, v] of [p * 6, q * 2].entries()) expect(got[i]).toBeCloseTo(v, 5);
  });

  it("one model of full rank is that model where everything else is its own too", async () => {
    const one = tuned(2, (name) => name.includes("proj"));
    const { model } = await runMethod(smile, { model: base, models: { a: one } }, {}, context);
    const itself = await answers(engine, { ...base, params: one }, tokens(0));
    expect(distance(await answers(engine, model, tokens(0)), itself)).toBeLessThan(1e-5);
  });

  it("parameters outside linear layers are the base's, or the average", async () => {
    const models = { a: tuned(2), b: tuned(3) };
    const kept = await runMethod(smile, { model: base, models }, {}, context);
    expect(Object.keys(kept.delta.tensors).filter((n) => n in base.params)).toEqual([]);
    const average = await runMethod(smile, { model: base, models }, { rest: "average" }, context);
    const norm = "model.norm.weight";
    const of = (name: "a" | "b"): Float32Array => (models[name][norm] as HostTensor).data as Float32Array;
    const mean = of("a").map((v, i) => (v + of("b")[i]!) / 2);
    expect(distance(average.delta.tensors[norm]!, f32(mean))).toBeLessThan(1e-6);
  });

  it("refuses more experts than models", async () => {
    const error = await runMethod(smile, { model: base, models: { a: tuned(2) } }, { topK: 2 }, context).catch((e: unknown) => e);
    expect(isLfmError(error, "CONFIG_INVALID")).toBe(true);
  });
});
