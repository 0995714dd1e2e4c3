import { Rng } from "@lfm/core";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { drawMask, MagnitudeSorter, rankProbabilities } from "./sparsify-rank.js";

function probabilities(values: Float32Array, length: number, inner: number, density: number, epsilon: number): Float32Array {
  const out = new Float32Array(values.length);
  rankProbabilities(values, new MagnitudeSorter(length), inner, density, epsilon, out);
  return out;
}
function draw(seed: number, chances: Float32Array): Uint8Array {
  const mask = new Uint8Array(chances.length);
  drawMask(new Rng(seed), chances, mask);
  return mask;
}

describe("MagnitudeSorter", () => {
  it("is a stable sort by magnitude, of rows that lie apart, one after another", () => {
    const entry = fc.oneof(fc.float({ noNaN: true }), fc.constantFrom(0, -0, 1, -1));
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 120 }), fc.integer({ min: 1, max: 3 }), fc.infiniteStream(entry), (length, stride, stream) => {
        const values = Float32Array.from({ length: length * stride }, () => stream.next().value);
        const sorter = new MagnitudeSorter(length);
        for (let start = 0; start < stride; start++) {
          const row = Array.from({ length }, (_, i) => Math.abs(values[start + i * stride]!));
          const wanted = Array.from(row.keys()).sort((a, b) => row[a]! - row[b]!);
          expect(Array.from(sorter.ascending(values, start, stride))).toEqual(wanted);
        }
      }),
    );
  });
});

describe("rankProbabilities", () => {
  it("grows with the rank within a row, hand-worked", () => {
    // ranks 1, 0, 2 of 0..2: .5 ± .2
    const close = (got: Float32Array, wanted: readonly number[]): void => {
      expect(got.length).toBe(wanted.length);
      for (const [i, w] of wanted.entries()) expect(got[i]).toBeCloseTo(w, 6);
    };
    close(probabilities(Float32Array.of(2, -1, -3), 3, 1, 0.5, 0.2), [0.5, 0.3, 0.7]);
    // Two rows of three, and rows across: [2 blocks, 2 in a row, 2 beside each other]
    close(probabilities(Float32Array.of(2, -1, -3, 0, 5, 1), 3, 1, 0.5, 0.2), [0.5, 0.3, 0.7, 0.3, 0.7, 0.5]);
    close(probabilities(Float32Array.of(1, 9, 2, 8, 4, 0, 3, 1), 2, 2, 0.5, 0.1), [0.4, 0.6, 0.6, 0.4, 0.6, 0.4, 0.4, 0.6]);
    close(probabilities(Float32Array.of(7, 8), 1, 1, 0.3, 0.1), [0.3, 0.3]);
  });

  it("is density on average, and within density ± ε", () => {
    fc.assert(
      fc.property(fc.integer({ min: 2, max: 40 }), fc.integer({ min: 1, max: 3 }), fc.nat(1000), (length, rows, seed) => {
        const p = probabilities(new Rng(seed).normalArray(length * rows), length, 1, 0.6, 0.25);
        expect(p.reduce((a, b) => a + b, 0) / p.length).toBeCloseTo(0.6, 5);
        expect(Math.min(...p)).toBeCloseTo(0.35, 6);
        expect(Math.max(...p)).toBeCloseTo(0.85, 6);
      }),
    );
  });
});

describe("drawMask", () => {
  it("keeps everything at 1, nothing at 0, and a share within 5σ between", () => {
    const n = 20000;
    expect(draw(1, new Float32Array(n).fill(1)).every((m) => m === 1)).toBe(true);
    expect(draw(1, new Float32Array(n)).every((m) => m === 0)).toBe(true);
    for (const p of [0.05, 0.3, 0.9]) {
      const kept = draw(3, new Float32Array(n).fill(p)).reduce((a, b) => a + b, 0);
      expect(Math.abs(kept - n * p)).toBeLessThan(5 * Math.sqrt(n * p * (1 - p)));
    }
  });
});
