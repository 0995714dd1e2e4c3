import {
  add,
  type Delta,
  f32,
  gather,
  type Hook,
  i32,
  isLfmError,
  type Model,
  makeDelta,
  matmul,
  ortEngine,
  type ParamTree,
  Rng,
  withDeltas,
} from "@lfm/core";
import { createGenerator, createPredictor, modelFromConfig } from "@lfm/models";
import { describe, expect, it } from "vitest";
import { goldenFixture, maxDifference } from "./golden-fixture.js";

const engine = await ortEngine({ threads: 1 });
const batch = { adapter: { dtype: "i32", shape: [] } } as const;
const prompts = [[4, 8, 15, 16], [23], [42, 4, 8], [16, 15]];
const routes = [1, 0, 0, 1];
const adapter = (...rows: number[]) => ({ adapter: i32(rows) });

/** Two adapters of rank 3 on every linear layer of the blocks; which of them a sequence takes is said with it. */
function routed(model: Model): Delta {
  const rng = new Rng(5);
  const sites = model.info.sites.filter((s) => s.kind === "linear" && s.role !== undefined);
  const tensors = Object.fromEntries(
    sites.flatMap(({ path, weight }) => [
      [`${path}.A`, f32(rng.normalArray(6 * weight!.in, 0.3), [2, weight!.in, 3])],
      [`${path}.B`, f32(rng.normalArray(6 * weight!.out, 0.3), [2, 3, weight!.out])],
    ]),
  );
  const hooks = (_config: unknown, t: ParamTree): readonly Hook[] => [
    {
      matches: (site) => `${site.path}.A` in t,
      output: (y, x, { path }, context) => {
        const rows = context.batch!.adapter!;
        return add(y, matmul(matmul(x, gather(t[`${path}.A`]!, rows)), gather(t[`${path}.B`]!, rows)));
      },
    },
  ];
  return makeDelta({ id: "routed", paradigm: "tuning", delta: { hooks } }, {}, tensors);
}

describe.each(["gpt2", "llama"])("named tensors of the batch: %s", (name) => {
  const { config, weights } = goldenFixture(name);
  const base = modelFromConfig(config, weights);
  const model = withDeltas(base, [routed(base)]);

  it("every sequence is answered through its own adapter, whatever stands beside it", async () => {
    const predictor = await createPredictor(engine, model, "next", { batch, batchSize: 3 });
    const together = await predictor.predict(prompts, undefined, adapter(...routes));
    for (const [i, prompt] of prompts.entries()) {
      const [own] = await predictor.predict([prompt], undefined, adapter(routes[i]!));
      const [other] = await predictor.predict([prompt], undefined, adapter(1 - routes[i]!));
      expect(maxDifference(together[i]!, own!)).toBeLessThan(1e-5);
      expect(maxDifference(together[i]!, other!)).toBeGreaterThan(1e-2);
    }
    await predictor.dispose();
  });

  it("so is every continuation, token by token, in a beam search and after a fork", async () => {
    const generator = await createGenerator(engine, model, { batch });
    const options = { maxNewTokens: 8 };
    const alone = async (i: number, beams = 1) =>
      (await generator.generate(prompts[i]!, { ...options, beams, batch: adapter(routes[i]!) })).tokens;
    for (const beams of [1, 3]) {
      const together = await generator.generateBatch(prompts, { ...options, beams, batch: adapter(...routes) });
      for (const i of prompts.keys()) expect([beams, i, together[i]!.tokens]).toEqual([beams, i, await alone(i, beams)]);
    }
    const open = await generator.open(prompts, { batch: adapter(...routes) });
    open.fork([3, 1]);
    await open.push([[7], [7, 9]]);
    for (const [row, i, added] of [
      [0, 3, [7]],
      [1, 1, [7, 9]],
    ] as const) {
      const single = await generator.open([[...prompts[i]!, ...added]], { batch: adapter(routes[i]!) });
      expect(maxDifference(f32(open.logits(row)), f32(single.logits(0)))).toBeLessThan(1e-5);
    }
    await generator.dispose();
  });

  it("refuses what is missing, what nobody declared and what does not fit", async () => {
    const predictor = await createPredictor(engine, model, "next", { batch });
    const generator = await createGenerator(engine, model, { batch });
    for (const [given, said] of [
      [undefined, /"adapter" is missing/],
      [{ ...adapter(0, 1), task: i32([0, 0]) }, /"task" was not declared/],
      [adapter(0), /i32\[1\], not i32\[2\]/],
      [{ adapter: f32([0, 1]) }, /f32\[2\], not i32\[2\]/],
    ] as const) {
      for (const failed of [
        predictor.predict([[1], [2]], undefined, given),
        generator.generateBatch([[1], [2]], { maxNewTokens: 1, ...(given ? { batch: given } : {}) }),
      ]) {
        const error = await failed.catch((e: unknown) => e);
        expect(isLfmError(error, "SHAPE_MISMATCH") && error.message).toMatch(said);
      }
    }
    await predictor.dispose();
    await generator.dispose();
  });
});
