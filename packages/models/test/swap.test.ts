import {
  add,
  type Delta,
  f32,
  type Hook,
  type HostTensor,
  type Model,
  makeDelta,
  matmul,
  mul,
  ortEngine,
  type ParamTree,
  Rng,
  sym,
  withDeltas,
} from "@lfm/core";
import { type CountingEngine, countingEngine } from "@lfm/core/testing";
import { createGenerator, createPredictor, type Generated, modelFromConfig } from "@lfm/models";
import { beforeEach, describe, expect, it } from "vitest";
import { goldenFixture, maxDifference } from "./golden-fixture.js";

let engine: CountingEngine;
beforeEach(async () => {
  engine = countingEngine(await ortEngine({ threads: 1 }));
});

const golden = (name: string): Model => {
  const { config, weights } = goldenFixture(name);
  return modelFromConfig(config, weights);
};

/** An adapter of rank `rank` on every linear layer of the blocks, as LoRA's: y + B(Ax)/8. */
function adapter(model: Model, seed: number, rank: number, symbol = false): Delta {
  const rng = new Rng(seed);
  const sites = model.info.sites.filter((s) => s.kind === "linear" && s.weight);
  const tensors = Object.fromEntries(
    sites.flatMap(({ path, weight }): [string, HostTensor][] => [
      [`${path}.A`, f32(rng.normalArray(weight!.in * rank, 0.3), [weight!.in, rank])],
      [`${path}.B`, f32(rng.normalArray(rank * weight!.out, 0.3), [rank, weight!.out])],
    ]),
  );
  const r = sym("rank");
  const shapes = Object.fromEntries(
    sites.flatMap(({ path, weight }) => [
      [`${path}.A`, [weight!.in, r]],
      [`${path}.B`, [r, weight!.out]],
    ]),
  );
  const hooks = (_config: unknown, t: ParamTree): readonly Hook[] => [
    {
      matches: (site) => `${site.path}.A` in t,
      output: (y, x, site) => add(y, mul(matmul(matmul(x, t[`${site.path}.A`]!), t[`${site.path}.B`]!), 0.125)),
    },
  ];
  const delta = { hooks, ...(symbol ? { shapes: () => shapes } : {}) };
  return makeDelta({ id: "low-rank", paradigm: "tuning", delta }, {}, tensors);
}

const prompts = [[4, 8, 15, 16], [23], [42, 4, 8]];

describe.each(["gpt2", "llama"])("50 adapters on one %s", (name) => {
  const base = golden(name);
  const models = Array.from({ length: 50 }, (_, i) => withDeltas(base, [adapter(base, i, 2)]));

  it("predict in one session what every seventh predicts in one of its own, bit for bit", async () => {
    const shared = await createPredictor(engine, models[0]!, "logits");
    const together: HostTensor[][] = [];
    for (const model of models) {
      await shared.swap(model);
      together.push(await shared.predict(prompts));
    }
    expect(engine.counts).toEqual({ compiled: 1, released: 0 });
    await shared.dispose();
    expect(engine.counts.released).toBe(1);
    for (const [i, model] of models.entries()) {
      if (i % 7 > 0) continue;
      const own = await createPredictor(await ortEngine({ threads: 1 }), model, "logits");
      expect(await own.predict(prompts)).toEqual(together[i]);
      await own.dispose();
    }
    expect(together[0]).not.toEqual(together[1]);
  });

  it("generate in one session what every seventh generates in one of its own", async () => {
    const options = { maxNewTokens: 5, logProbs: true };
    const shared = await createGenerator(engine, models[0]!);
    const together: Generated[][] = [];
    for (const model of models) {
      await shared.swap(model);
      together.push(await shared.generateBatch(prompts, options));
    }
    expect(engine.counts).toEqual({ compiled: 1, released: 0 });
    for (const [i, model] of models.entries()) {
      if (i % 7 > 0) continue;
      const own = await createGenerator(await ortEngine({ threads: 1 }), model);
      expect(await own.generateBatch(prompts, options)).toEqual(together[i]);
      await own.dispose();
    }
    expect(together[0]).not.toEqual(together[1]);
    await shared.dispose();
  });
});

it("adapters of every rank share a session where they call the rank a symbol", async () => {
  const base = golden("llama");
  const asked = async (symbol: boolean): Promise<HostTensor[][]> => {
    const predictor = await createPredictor(engine, withDeltas(base, [adapter(base, 1, 1, symbol)]), "next");
    const seen = [await predictor.predict(prompts)];
    for (const rank of [2, 3, 8]) {
      await predictor.swap(withDeltas(base, [adapter(base, rank, rank, symbol)]));
      seen.push(await predictor.predict(prompts));
    }
    return seen;
  };
  const symbols = await asked(true);
  expect(engine.counts.compiled).toBe(1);
  const sizes = await asked(false);
  expect(engine.counts.compiled).toBe(5);
  symbols.forEach((each, i) => {
    each.forEach((t, k) => {
      expect(maxDifference(t, sizes[i]![k]!)).toBeLessThan(1e-4);
    });
  });
});
