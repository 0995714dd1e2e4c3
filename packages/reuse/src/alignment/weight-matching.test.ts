import { type HostTensor, isLfmError, type Model, Rng } from "@lfm/core";
import { Draws } from "@lfm/core/testing";
import { convnet, mlp } from "@lfm/models";
import { describe, expect, it } from "vitest";
import { readGolden } from "../../test/alignment-golden.js";
import { randomParams, smallModels } from "../../test/small-models.js";
import { permutationSpec } from "./infer-spec.js";
import { identityPermutations } from "./permutation-spec.js";
import { matchingValue, weightMatching } from "./weight-matching.js";

const models: Record<string, Model> = {
  mlp: mlp({ input_size: 10, hidden_sizes: [24, 32, 16], output_size: 4 }),
  convnet: convnet({ image_size: 8, widths: [12, 20], classes: 3 }),
};

describe("weight matching", () => {
  it("is Git Re-Basin's, pass by pass in the same order", () => {
    type Case = { model: string; seed: number; orders: number[][]; passes: number; value: number; permutations: Record<string, number[]> };
    for (const c of readGolden<Case[]>("weight-matching")) {
      const { info } = models[c.model]!;
      const spec = permutationSpec(models[c.model]!);
      const draws = new Draws(c.seed);
      const draw = (): Record<string, HostTensor> =>
        Object.fromEntries(Object.entries(info.params).map(([n, p]) => [n, draws.tensor(...p.shape)]));
      const [a, b] = [draw(), draw()];
      const { permutations, passes } = weightMatching(spec, a, b, { order: (k) => c.orders[k]! });
      expect(passes).toBe(c.passes);
      expect(spec.groups.map((g) => Array.from(permutations[g.id]!.units!))).toEqual(Object.values(c.permutations));
      expect(matchingValue(spec, a, b, permutations)).toBeCloseTo(c.value, 9);
    }
  });

  it("hand-worked: two hidden units that have changed places", () => {
    const w = (first: number[], bias: number[], second: number[]): Record<string, HostTensor> => ({
      "fc1.weight": { dtype: "f32", shape: [2, 1], data: Float32Array.from(first) },
      "fc1.bias": { dtype: "f32", shape: [2], data: Float32Array.from(bias) },
      "fc2.weight": { dtype: "f32", shape: [1, 2], data: Float32Array.from(second) },
      "fc2.bias": { dtype: "f32", shape: [1], data: Float32Array.of(0) },
    });
    const spec = permutationSpec(mlp({ input_size: 1, hidden_sizes: [2], output_size: 1 }));
    const [a, b] = [w([1, 2], [0, 1], [3, -1]), w([2, 1], [1, 0], [-1, 3])];
    const { permutations } = weightMatching(spec, a, b, { order: () => [0] });
    expect(permutations.fc1!.units).toEqual(Int32Array.of(1, 0));
    // As it was: 1·2 + 2·1 + 0·1 + 1·0 + 3·(−1) + (−1)·3 = −2; matched: 1 + 4 + 0 + 1 + 9 + 1 = 16.
    expect(matchingValue(spec, a, b, identityPermutations(spec))).toBe(-2);
    expect(matchingValue(spec, a, b, permutations)).toBe(16);
  });

  it.each(Object.entries(smallModels))("never loses value: %s", (_name, make) => {
    const model = make();
    const spec = permutationSpec(model);
    const [a, b] = [randomParams(model, 1), randomParams(model, 2)];
    const gains: number[] = [];
    const { permutations } = weightMatching(spec, a, b, { rng: new Rng(1), onPass: ({ gain }) => gains.push(gain) });
    for (const gain of gains) expect(gain).toBeGreaterThanOrEqual(-1e-9);
    const before = matchingValue(spec, a, b, identityPermutations(spec));
    expect(matchingValue(spec, a, b, permutations)).toBeCloseTo(before + gains.reduce((x, y) => x + y, 0), 6);
    if (spec.groups.length > 0) expect(gains[0]).toBeGreaterThan(0);
  });

  it("refuses models of other shapes", () => {
    const wide = mlp({ input_size: 10, hidden_sizes: [24, 33, 16], output_size: 4 });
    let error: unknown;
    try {
      weightMatching(permutationSpec(models.mlp!), randomParams(models.mlp!, 1), randomParams(wide, 1), { rng: new Rng(1) });
    } catch (e) {
      error = e;
    }
    expect(isLfmError(error, "SHAPE_MISMATCH")).toBe(true);
  });
});
