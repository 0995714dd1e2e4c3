import { f32, type HostTensor, isLfmError, type MethodContext, needs, Rng, referenceEngine, runMethod } from "@lfm/core";
import type { Statistics } from "@lfm/statistics";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { fisher } from "./fisher.js";

const context: MethodContext = { engine: referenceEngine(), rng: new Rng(0), access: needs, log: () => {}, progress: () => {} };
const stats = (w: HostTensor): Statistics => ({
  kind: "fisher",
  tensors: { w },
  model: "",
  samples: 1,
  estimator: "expected",
});
const merge = async (
  models: Record<string, number[]>,
  weights: Record<string, number[]>,
  config: Record<string, unknown> = {},
): Promise<number[]> => {
  const { delta } = await runMethod(
    fisher,
    {
      models: Object.fromEntries(Object.entries(models).map(([k, v]) => [k, { w: f32(v) }])),
      statistics: Object.fromEntries(Object.entries(weights).map(([k, v]) => [k, stats(f32(v))])),
    },
    config,
    context,
  );
  return Array.from(delta.tensors.w!.data as Float32Array);
};
const code = async (promise: Promise<unknown>): Promise<string> =>
  promise.then(
    () => "finished",
    (e: unknown) => (isLfmError(e) ? e.code : String(e)),
  );

describe("Fisher merging", () => {
  it("hand-worked: (3·2 + 1·6)/4 = 3, and what one model alone cares about is that model's", async () => {
    const [x, y] = await merge({ a: [2, 5], b: [6, -7] }, { a: [3, 1], b: [1, 0] }, { normalize: false, floor: 1e-9 });
    expect(x).toBeCloseTo(3, 6);
    expect(y).toBeCloseTo(5, 6);
  });

  it("without any sensitivity it is the average, weighted", async () => {
    expect(await merge({ a: [2], b: [6] }, { a: [0], b: [0] })).toEqual([4]);
    expect(await merge({ a: [2], b: [6] }, { a: [0], b: [0] }, { weight: [3, 1] })).toEqual([3]);
  });

  it("normalisation takes the scale of a model's gradients out", async () => {
    const plain = await merge({ a: [2, 5], b: [6, -7] }, { a: [3, 1], b: [1, 2] });
    const scaled = await merge({ a: [2, 5], b: [6, -7] }, { a: [3000, 1000], b: [1, 2] });
    for (const [i, v] of scaled.entries()) expect(v).toBeCloseTo(plain[i]!, 4);
  });

  it("lies between the models, does not depend on their order, and one model gives itself", async () => {
    const value = fc.integer({ min: -1000, max: 1000 }).map((n) => n / 8);
    const row = fc.tuple(value, value, value);
    const weight = fc.tuple(...[0, 1, 2].map(() => fc.integer({ min: 0, max: 1000 }).map((n) => n / 256)));
    await fc.assert(
      fc.asyncProperty(row, row, weight, weight, async (a, b, fa, fb) => {
        const out = await merge({ a, b }, { a: fa, b: fb });
        const swapped = await merge({ b, a }, { b: fb, a: fa });
        for (const [i, v] of out.entries()) {
          expect(v).toBeGreaterThanOrEqual(Math.min(a[i]!, b[i]!) - 1e-4);
          expect(v).toBeLessThanOrEqual(Math.max(a[i]!, b[i]!) + 1e-4);
          expect(v).toBeCloseTo(swapped[i]!, 4);
        }
        expect(await merge({ a }, { a: fa })).toEqual(a.map(Math.fround));
      }),
      { numRuns: 40 },
    );
  });

  it("refuses statistics that are missing, of another kind or of another shape", async () => {
    expect(await code(merge({ a: [1], b: [2] }, { a: [1] }))).toBe("CONFIG_INVALID");
    expect(await code(merge({ a: [1, 2] }, { a: [1] }))).toBe("SHAPE_MISMATCH");
    const gram: Statistics = { kind: "gram", tensors: { w: f32([1]) }, layouts: {}, rows: { w: 1 }, model: "", samples: 1 };
    expect(await code(runMethod(fisher, { models: { a: { w: f32([1]) } }, statistics: { a: gram } }, {}, context))).toBe("CONFIG_INVALID");
  });
});
