import { Rng } from "@lfm/core";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { magnitudeAt, markLargest, orderStatistics } from "./order-statistics.js";

const magnitudes = fc.array(fc.oneof(fc.float({ noNaN: true }), fc.constantFrom(0, -0, 1, -1, 1e-40, 3)), { minLength: 1, maxLength: 60 });

describe("orderStatistics", () => {
  it("gives what sorting gives, for several places at once, in parts", () => {
    fc.assert(
      fc.property(magnitudes, fc.array(fc.nat(60), { maxLength: 4 }), fc.nat(60), (list, ks, cut) => {
        const values = Float32Array.from(list);
        const places = ks.map((k) => Math.min(k, values.length));
        const [found] = orderStatistics(
          1,
          () => [places],
          (count) => {
            count(0, values.subarray(0, cut));
            count(0, values.subarray(cut));
          },
        );
        const sorted = Array.from(values, Math.abs).sort((a, b) => b - a);
        for (const [i, k] of places.entries()) {
          if (k > 0) expect(magnitudeAt(found![i]!)).toBe(sorted[k - 1]);
          const marks = new Uint8Array(values.length).fill(7);
          const left = markLargest(values.subarray(0, cut), found![i]!, found![i]!.equal, marks);
          expect(markLargest(values.subarray(cut), found![i]!, left, marks.subarray(cut))).toBe(0);
          const kept = Array.from(values).filter((_, j) => marks[j] === 1);
          expect(kept.map(Math.abs).sort((a, b) => b - a)).toEqual(sorted.slice(0, k));
        }
      }),
    );
  });

  it("keeps sequences apart, and asks for places after the first run", () => {
    const runs: string[] = [];
    const [a, b] = [new Rng(1).normalArray(500), new Rng(2).normalArray(500, 1e-6)];
    const found = orderStatistics(
      2,
      () => {
        runs.push("places");
        return [[250], [1]];
      },
      (count) => {
        runs.push("run");
        count(0, a);
        count(1, b);
      },
    );
    expect(runs).toEqual(["run", "places", "run"]);
    expect(magnitudeAt(found[0]![0]!)).toBe(Array.from(a, Math.abs).sort((x, y) => y - x)[249]);
    expect(magnitudeAt(found[1]![0]!)).toBe(Math.max(...b.map(Math.abs)));
  });

  it("takes the first of equal magnitudes", () => {
    const values = Float32Array.of(2, -2, 1, 2);
    const [[threshold]] = orderStatistics(
      1,
      () => [[2]],
      (count) => count(0, values),
    ) as [[{ limit: number; equal: number }]];
    const kept = new Uint8Array(4);
    markLargest(values, threshold, threshold.equal, kept);
    expect(Array.from(kept)).toEqual([1, 1, 0, 0]);
  });
});
