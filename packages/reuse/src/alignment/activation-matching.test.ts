import { type Engine, f32, i32, isLfmError, ortEngine, Rng } from "@lfm/core";
import { mlp } from "@lfm/models";
import { between, correlations, innerProducts } from "@lfm/statistics";
import { beforeAll, describe, expect, it } from "vitest";
import { randomParams, smallModels, someInput, withParams } from "../../test/small-models.js";
import { activationMatching } from "./activation-matching.js";
import { activationStatistics } from "./activation-statistics.js";
import { permutationSpec } from "./infer-spec.js";
import { invertPermutations, permuteWeights } from "./permutation-spec.js";
import { randomPermutations } from "./random-permutations.js";

let engine: Engine;
beforeAll(async () => {
  engine = await ortEngine({ threads: 1 });
});

describe("activation statistics", () => {
  it("hand-worked: two units of two models on four samples in two batches", async () => {
    // Hidden units: a sees (x, −x) through relu, b sees (2x, 1).
    const net = (weight: number[], bias: number[]): ReturnType<typeof mlp> =>
      mlp(
        { input_size: 1, hidden_sizes: [2], output_size: 1 },
        { "fc1.weight": f32(weight, [2, 1]), "fc1.bias": f32(bias), "fc2.weight": f32([1, 1], [1, 2]), "fc2.bias": f32([0]) },
      );
    const models = [net([1, -1], [0, 0]), net([2, 0], [0, 1])];
    const specs = models.map((m) => permutationSpec(m));
    const data = [{ features: f32([1, 3], [2, 1]) }, { features: f32([-2, 0], [2, 1]) }];
    const [seen] = (await activationStatistics(engine, models, specs, data)).fc1!;
    // Samples: a₁ = 1 3 0 0, a₂ = 0 0 2 0, b₁ = 2 6 0 0, b₂ = 1 1 1 1.
    expect(seen!.statistics.samples).toBe(4);
    expect(Array.from(seen!.statistics.mean)).toEqual([1, 0.5, 2, 1]);
    // Σ (a₁ − 1)(b₁ − 2) = 0·0 + 2·4 + (−1)(−2)·2 = 12; E[a₁ b₁] = (2 + 18)/4 = 5; corr(a₁, a₂) = −2/√(6·3) from Σ = (0 + 2·(−.5) + (−1)(1.5) + .5) = −2.
    const cross = between(seen!.statistics.scatter, [2, 2], 0, 1);
    expect(Array.from(cross)).toEqual([12, 0, -4, 0]);
    expect(innerProducts(seen!.statistics)[2]).toBeCloseTo(5, 6);
    const correlation = correlations(seen!.statistics);
    expect(correlation[1]).toBeCloseTo(-2 / Math.sqrt(18), 6);
    expect(correlation[2]).toBeCloseTo(1, 6);
    expect(correlation[3]).toBe(0);
  });

  it("positions that the mask hides do not count", async () => {
    const plain = smallModels.gpt2!();
    const model = withParams(plain, randomParams(plain, 1));
    const spec = permutationSpec(model);
    const input = someInput(model, 5);
    const shown = Array.from(input.mask!.data as Float32Array);
    const tokens = i32(
      Array.from(input.tokens!.data as Int32Array, (t, k) => (shown[k] === 0 ? 0 : t)),
      input.tokens!.shape,
    );
    const junk = { ...input, tokens };

    const of = async (batch: typeof input): Promise<number[]> => {
      const seen = await activationStatistics(engine, [model], [spec], [batch]);
      return Object.values(seen).flatMap((taps) => taps.flatMap((t) => [t.statistics.samples, ...t.statistics.scatter]));
    };
    const [x, y] = [await of(input), await of(junk)];
    for (const [k, v] of x.entries()) expect(Math.abs(v - y[k]!)).toBeLessThan(1e-4 * Math.max(1, Math.abs(v)));
  });
});

describe("activation matching", () => {
  it.each(Object.entries(smallModels))("puts a shuffled copy back: %s", async (_name, make) => {
    const plain = make();
    const model = withParams(plain, randomParams(plain, 1));
    const spec = permutationSpec(model);
    const shuffle = randomPermutations(spec, new Rng(4));
    const moved = withParams(model, permuteWeights(spec, shuffle, model.params));
    const data = [1, 2, 3].map((seed) => someInput(model, seed, 16));
    for (const similarity of ["inner", "correlation"] as const) {
      const found = await activationMatching(engine, spec, model, moved, data, { similarity });
      const undone = permuteWeights(spec, found, moved.params);
      if (similarity === "correlation") expect(found).toEqual(invertPermutations(shuffle));
      // The largest inner products need not be those of a unit with itself one by one, but their sum is.
      else expect(undone).toEqual(model.params);
    }
  });

  it("needs data", async () => {
    const model = smallModels.mlp!();
    const error = await activationMatching(engine, permutationSpec(model), model, model, []).catch((e: unknown) => e);
    expect(isLfmError(error, "CAPABILITY_MISSING")).toBe(true);
  });
});
