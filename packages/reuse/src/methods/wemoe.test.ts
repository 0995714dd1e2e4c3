import { type Engine, f32, i32, isLfmError, type MethodContext, needs, ortEngine, Rng, runMethod, withDeltas } from "@lfm/core";
import { mlp } from "@lfm/models";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { answers, base, probe, tokens, tuned } from "../../test/llama-setting.js";
import { distance } from "../../test/mlp-setting.js";
import { routerName } from "../data-driven/weight-ensembling.js";
import { adaMerging } from "./ada-merging.js";
import { wemoe } from "./wemoe.js";

let engine: Engine;
let context: MethodContext;
beforeAll(async () => {
  engine = await ortEngine({ threads: 1 });
  context = { engine, rng: new Rng(1), access: needs, log: () => {}, progress: () => {} };
});
afterAll(() => engine.dispose());

const setting = { model: base, models: { a: tuned(2), b: tuned(3) }, tasks: { a: probe("a", 0), b: probe("b", 4) } };

describe("weight-ensembling MoE", () => {
  it("routers without layers that have learned nothing are task arithmetic", async () => {
    const { model } = await runMethod(wemoe, setting, { steps: 0, routerLayers: 0, init: 0.4 }, context);
    const plain = await runMethod(adaMerging, setting, { steps: 0, init: 0.4 }, context);
    expect(distance(await answers(engine, model, tokens(0)), await answers(engine, plain.model, tokens(0)))).toBeLessThan(1e-5);
  });

  it("λ = 0 without layers is the base; one model at λ = 1 is that model", async () => {
    const none = await runMethod(wemoe, setting, { steps: 0, routerLayers: 0, init: 0 }, context);
    expect(distance(await answers(engine, none.model, tokens(1)), await answers(engine, base, tokens(1)))).toBeLessThan(1e-6);
    const one = await runMethod(wemoe, { ...setting, models: { a: setting.models.a } }, { steps: 0, routerLayers: 0, init: 1 }, context);
    const itself = await answers(engine, { ...base, params: setting.models.a }, tokens(1));
    expect(distance(await answers(engine, one.model, tokens(1)), itself)).toBeLessThan(1e-5);
  });

  it("learns: what it is certain of grows, and only routers changed", async () => {
    const before = await runMethod(wemoe, setting, { steps: 0 }, context);
    const after = await runMethod(wemoe, setting, { steps: 60, lr: 0.02 }, context);
    const losses = after.curves.loss!.map(([, v]) => v);
    expect(losses.at(-1)!).toBeLessThan(losses[0]! - 0.1);
    const changed = Object.keys(after.delta.tensors).filter((n) => distance(after.delta.tensors[n]!, before.delta.tensors[n]!) > 0);
    expect(changed.length).toBeGreaterThan(0);
    expect(changed.every((n) => n.includes(".router."))).toBe(true);
  });

  it("padding does not take part in a sequence's mixture, and a mixture of tokens does not look ahead", async () => {
    const { delta } = await runMethod(wemoe, setting, { steps: 0 }, context);
    const rng = new Rng(9);
    const loud = Object.fromEntries(
      Object.entries(delta.tensors).map(([n, t]) => [n, n.includes(".router.") ? f32(rng.normalArray(t.data.length), t.shape) : t]),
    );
    const model = withDeltas(base, [{ ...delta, tensors: loud }]);
    const short = await answers(engine, model, i32([3, 4, 5], [1, 3]), f32([1, 1, 1], [1, 3]));
    const padded = await answers(engine, model, i32([3, 4, 5, 0, 0], [1, 5]), f32([1, 1, 1, 0, 0], [1, 5]));
    expect(distance(f32((padded.data as Float32Array).slice(0, 69), [1, 3, 23]), short)).toBeLessThan(1e-5);
    const byToken = await runMethod(wemoe, setting, { steps: 0, routing: "token" }, context);
    const causal = withDeltas(base, [{ ...byToken.delta, tensors: loud }]);
    const first = await answers(engine, causal, i32([3, 4, 5], [1, 3]));
    const longer = await answers(engine, causal, i32([3, 4, 5, 6], [1, 4]));
    expect(distance(f32((longer.data as Float32Array).slice(0, 69), [1, 3, 23]), first)).toBeLessThan(1e-5);
  });

  it("names its routers after the MLPs, and refuses a model without any", async () => {
    const { delta } = await runMethod(wemoe, setting, { steps: 0, routerLayers: 1 }, context);
    expect(delta.tensors[routerName("model.layers.1.mlp", 0, "bias")]!.shape).toEqual([2]);
    const flat = mlp({ input_size: 2, hidden_sizes: [], output_size: 2 });
    const model = { ...flat, params: { "fc1.weight": f32([1, 0, 0, 1], [2, 2]), "fc1.bias": f32([0, 0]) } };
    const models = { a: { "fc1.weight": f32([1, 0, 0, 2], [2, 2]), "fc1.bias": f32([0, 0]) } };
    const error = await runMethod(wemoe, { model, models, tasks: { a: probe("a", 0) } }, {}, context).catch((e: unknown) => e);
    expect(isLfmError(error, "CAPABILITY_MISSING")).toBe(true);
  });
});
