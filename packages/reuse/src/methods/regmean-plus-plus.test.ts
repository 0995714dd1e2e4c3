import { type HostTensor, isLfmError, type MethodContext, needs, ortEngine, Rng, runMethod } from "@lfm/core";
import { convnet, initWeights } from "@lfm/models";
import { collectGrams } from "@lfm/statistics";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { base, probe, tuned } from "../../test/llama-setting.js";
import { distance } from "../../test/mlp-setting.js";
import { regmean } from "./regmean.js";
import { regmeanPlusPlus } from "./regmean-plus-plus.js";

let context: MethodContext;
beforeAll(async () => {
  const engine = await ortEngine({ threads: 1 });
  context = { engine, rng: new Rng(1), access: needs, log: () => {}, progress: () => {} };
});
afterAll(() => context.engine.dispose());
const models = { a: tuned(2), b: tuned(3) };
const tasks = { a: probe("a", 0), b: probe("b", 4) };
const run = async (which: Partial<typeof models> = models): Promise<Record<string, HostTensor>> =>
  (await runMethod(regmeanPlusPlus, { model: base, models: which as typeof models, tasks }, { samples: 12 }, context)).delta.tensors;

describe("RegMean++", () => {
  it("one model gives itself, and every parameter has its place", async () => {
    const out = await run({ a: models.a });
    expect(Object.keys(out).sort()).toEqual(Object.keys(base.params).sort());
    for (const [name, t] of Object.entries(models.a)) expect(distance(out[name]!, t as HostTensor), name).toBeLessThan(1e-4);
  });

  it("the order of models does not matter", async () => {
    const [x, y] = [await run(), await run({ b: models.b, a: models.a })];
    for (const name of Object.keys(x)) expect(distance(x[name]!, y[name]!), name).toBeLessThan(1e-4);
  });

  it("parts from RegMean after the first linear layers, which see the averaged embedding", async () => {
    const statistics = {
      a: await collectGrams(context.engine, { ...base, params: models.a }, tasks.a, { samples: 12 }),
      b: await collectGrams(context.engine, { ...base, params: models.b }, tasks.b, { samples: 12 }),
    };
    const plain = await runMethod(regmean, { models, statistics }, {}, context);
    const plus = await run();
    const embedding = "model.embed_tokens.weight";
    expect(distance(plus[embedding]!, plain.delta.tensors[embedding]!)).toBeLessThan(1e-6);
    const last = "model.layers.1.mlp.down_proj.weight";
    expect(distance(plus[last]!, plain.delta.tensors[last]!)).toBeGreaterThan(1e-4);
  });

  it("refuses a model without blocks of linear layers", async () => {
    const planned = convnet({ image_size: 8, widths: [4], classes: 3 });
    const model = { ...planned, params: initWeights(planned.info, { seed: 1 }) };
    const error = await runMethod(regmeanPlusPlus, { model, models: { a: model.params }, tasks }, {}, context).catch((e: unknown) => e);
    expect(isLfmError(error)).toBe(true);
  });
});
