import { f32, referenceEngine } from "@lfm/core";
import { mlp } from "@lfm/models";
import { describe, expect, it } from "vitest";
import { between, correlations, innerProducts, type UnitTap, unitStatistics } from "../src/index.js";

const engine = referenceEngine();
/** Hidden units: a sees (x, −x) through relu, b sees (2x, 1). */
const net = (weight: number[], bias: number[]): ReturnType<typeof mlp> =>
  mlp(
    { input_size: 1, hidden_sizes: [2], output_size: 1 },
    { "fc1.weight": f32(weight, [2, 1]), "fc1.bias": f32(bias), "fc2.weight": f32([1, 1], [1, 2]), "fc2.bias": f32([0]) },
  );
const models = [net([1, -1], [0, 0]), net([2, 0], [0, 1])];
const tap: UnitTap = { site: "fc2", side: "input", axis: "last", offset: 0, block: 1, units: 2 };
const data = [{ features: f32([1, 3], [2, 1]) }, { features: f32([-2, 0], [2, 1]) }];

describe("units of several models on the same data", () => {
  it("hand-worked: two units of two models on four samples in two batches", async () => {
    const [seen] = await unitStatistics(engine, models, [[tap], [tap]], data);
    // Samples: a₁ = 1 3 0 0, a₂ = 0 0 2 0, b₁ = 2 6 0 0, b₂ = 1 1 1 1.
    expect([seen!.samples, seen!.sizes, Array.from(seen!.mean)]).toEqual([4, [2, 2], [1, 0.5, 2, 1]]);
    expect(Array.from(between(seen!.scatter, seen!.sizes, 0, 1))).toEqual([12, 0, -4, 0]);
    expect(innerProducts(seen!)[2]).toBeCloseTo(5, 6);
    expect(correlations(seen!)[2]).toBeCloseTo(1, 6);
    expect(correlations(seen!)[3]).toBe(0);
  });

  it("a tap may see some of the units, and several taps are seen in one pass", async () => {
    const second = { ...tap, offset: 1, units: 1 };
    const seen = await unitStatistics(
      engine,
      models,
      [
        [second, tap],
        [second, tap],
      ],
      data,
    );
    expect(seen.map((s) => s.sizes)).toEqual([
      [1, 1],
      [2, 2],
    ]);
    expect(Array.from(seen[0]!.mean)).toEqual([0.5, 1]);
  });

  it("refuses no data, and a tap that nothing comes by", async () => {
    const code = { code: "CAPABILITY_MISSING" };
    await expect(unitStatistics(engine, models, [[tap], [tap]], [])).rejects.toMatchObject(code);
    const nowhere = { ...tap, site: "fc9" };
    await expect(unitStatistics(engine, models, [[nowhere], [nowhere]], data)).rejects.toMatchObject(code);
  });
});
