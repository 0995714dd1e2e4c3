import { f32, type HostTensor, isLfmError, type MethodContext, needs, Rng, referenceEngine, runMethod } from "@lfm/core";
import type { Statistics } from "@lfm/statistics";
import { describe, expect, it } from "vitest";
import { regmean } from "./regmean.js";

const context: MethodContext = { engine: referenceEngine(), rng: new Rng(0), access: needs, log: () => {}, progress: () => {} };
const stats = (w: HostTensor, layout: "out-in" | "in-out" = "out-in"): Statistics => ({
  kind: "gram",
  tensors: { w },
  layouts: { w: layout },
  rows: { w: 1 },
  model: "",
  samples: 1,
});
const merge = async (
  weights: readonly HostTensor[],
  grams: readonly HostTensor[],
  config: Record<string, unknown> = {},
  layout?: "out-in" | "in-out",
): Promise<number[]> => {
  const name = (i: number): string => `m${i}`;
  const inputs = {
    models: Object.fromEntries(weights.map((w, i) => [name(i), { w, b: f32([i]) }])),
    statistics: Object.fromEntries(grams.map((g, i) => [name(i), stats(g, layout)])),
  };
  const params = (await runMethod(regmean, inputs, config, context)).delta.tensors;
  expect(params.b!.data[0]).toBeCloseTo((weights.length - 1) / 2, 6);
  return Array.from(params.w!.data as Float32Array);
};
const close = (got: readonly number[], want: readonly number[], digits = 5): void => {
  expect(got.length).toBe(want.length);
  for (const [i, v] of want.entries()) expect(got[i]).toBeCloseTo(v, digits);
};
const gramOf = (rng: Rng, rows: number, width: number): HostTensor => {
  const x = rng.normalArray(rows * width);
  const g = new Float32Array(width * width);
  for (let r = 0; r < rows; r++)
    for (let i = 0; i < width; i++)
      for (let j = 0; j < width; j++) g[i * width + j] = g[i * width + j]! + (x[r * width + i]! * x[r * width + j]!) / rows;
  return f32(g, [width, width]);
};

describe("RegMean", () => {
  it("hand-worked: with diagonal Gram matrices each input is a weighted mean", async () => {
    // Input 0: (3·2 + 1·6)/4 = 3; input 1: (1·5 + 1·(−7))/2 = −1
    const out = await merge([f32([2, 5], [1, 2]), f32([6, -7], [1, 2])], [f32([3, 0, 0, 1], [2, 2]), f32([1, 0, 0, 1], [2, 2])], {
      ridge: 0,
    });
    close(out, [3, -1]);
  });

  it("hand-worked: one output, correlated inputs", async () => {
    // G₁ = [[1, 1], [1, 1]] (only x₀ + x₁ was seen), G₂ = I. (G₁ + G₂)⁻¹ = ⅓·[[2, −1], [−1, 2]];
    // G₁·(3, 1) + G₂·(0, 0) = (4, 4) → (4/3, 4/3)
    const out = await merge([f32([3, 1], [1, 2]), f32([0, 0], [1, 2])], [f32([1, 1, 1, 1], [2, 2]), f32([1, 0, 0, 1], [2, 2])], {
      ridge: 0,
      offDiagonal: 1,
    });
    close(out, [4 / 3, 4 / 3]);
  });

  it("rows and columns: a weight that lies the other way round gives the transposed answer", async () => {
    const rng = new Rng(5);
    const [n, m] = [6, 4];
    const w = [0, 1, 2].map(() => rng.normalArray(n * m));
    const grams = [0, 1, 2].map(() => gramOf(rng, 20, n));
    const turned = w.map((v) => Float32Array.from({ length: n * m }, (_, at) => v[(at % m) * n + Math.floor(at / m)]!));
    const rows = await merge(
      w.map((v) => f32(v, [m, n])),
      grams,
    );
    const columns = await merge(
      turned.map((v) => f32(v, [n, m])),
      grams,
      {},
      "in-out",
    );
    close(
      columns,
      Array.from({ length: n * m }, (_, at) => rows[(at % m) * n + Math.floor(at / m)]!),
    );
  });

  it("one model gives itself; equal Gram matrices give the average; the order does not matter", async () => {
    const rng = new Rng(6);
    const w = [0, 1, 2].map(() => f32(rng.normalArray(12), [3, 4]));
    const g = [0, 1, 2].map(() => gramOf(rng, 9, 4));
    close(await merge([w[0]!], [g[0]!]), Array.from(w[0]!.data as Float32Array));
    const mean = Array.from(w[0]!.data as Float32Array, (_, i) => w.reduce((s, t) => s + Number(t.data[i]), 0) / 3);
    close(await merge(w, [g[0]!, g[0]!, g[0]!]), mean);
    close(await merge([w[2]!, w[0]!, w[1]!], [g[2]!, g[0]!, g[1]!]), await merge(w, g));
  });

  it("is nearer to every model's outputs on its own inputs than the average is", async () => {
    const rng = new Rng(8);
    const [n, m] = [5, 3];
    const w = [0, 1].map(() => f32(rng.normalArray(n * m), [m, n]));
    const g = [gramOf(rng, 12, n), gramOf(rng, 12, n)];
    // Σᵢ tr((W − Wᵢ)·Gᵢ·(W − Wᵢ)ᵀ)
    const loss = (x: ArrayLike<number>): number =>
      w.reduce((sum, wi, k) => {
        for (let o = 0; o < m; o++)
          for (let i = 0; i < n; i++)
            for (let j = 0; j < n; j++) {
              const [a, b] = [x[o * n + i]! - Number(wi.data[o * n + i]), x[o * n + j]! - Number(wi.data[o * n + j])];
              sum += a * b * Number(g[k]!.data[i * n + j]);
            }
        return sum;
      }, 0);
    const merged = await merge(w, g, { offDiagonal: 1, ridge: 0 });
    const mean = Array.from(w[0]!.data as Float32Array, (v, i) => (v + Number(w[1]!.data[i])) / 2);
    expect(loss(merged)).toBeLessThan(loss(mean));
    for (let at = 0; at < n * m; at++)
      for (const d of [-1e-2, 1e-2]) expect(loss(merged.map((v, i) => (i === at ? v + d : v)))).toBeGreaterThan(loss(merged));
  });

  it("an input that never fires is averaged; without a ridge that is an error", async () => {
    const w = [f32([1, 4], [1, 2]), f32([3, 8], [1, 2])];
    const dead = [f32([1, 0, 0, 0], [2, 2]), f32([1, 0, 0, 0], [2, 2])];
    close(await merge(w, dead), [2, 6], 4);
    const error = await merge(w, dead, { ridge: 0 }).catch((e: unknown) => e);
    expect(isLfmError(error, "NUMERIC_DIVERGED") && error.message).toContain("singular at row 1");
  });
});
