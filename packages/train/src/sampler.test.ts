import { Rng } from "@lfm/core";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { createSampler } from "./sampler.js";

const epochOf = (sampler: ReturnType<typeof createSampler>, epoch: number): number[][] =>
  Array.from({ length: sampler.perEpoch }, (_, i) => [...sampler.batch(epoch * sampler.perEpoch + i)]);

describe("a sampler", () => {
  it("shows every example once an epoch, whatever the sizes, with lengths or without", () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 70 }),
        fc.integer({ min: 1, max: 20 }),
        fc.boolean(),
        fc.nat(),
        (count, batchSize, byLength, seed) => {
          const lengths = Array.from({ length: count }, (_, i) => (i * 7) % 13);
          const sampler = createSampler({ count, batchSize, rng: new Rng(seed), bucket: 3, ...(byLength ? { lengths } : {}) });
          for (const epoch of [0, 1, 5]) {
            const batches = epochOf(sampler, epoch);
            expect(batches.flat().sort((a, b) => a - b)).toEqual(Array.from({ length: count }, (_, i) => i));
            expect(batches.every((b) => b.length > 0 && b.length <= batchSize)).toBe(true);
          }
        },
      ),
    );
  });

  it("is a pure function of the number: asked in any order, it says the same", () => {
    const make = (): ReturnType<typeof createSampler> => createSampler({ count: 23, batchSize: 4, rng: new Rng(3) });
    const [forward, backward] = [make(), make()];
    const numbers = Array.from({ length: 20 }, (_, i) => i);
    const there = numbers.map((n) => forward.batch(n));
    const back = [...numbers].reverse().map((n) => backward.batch(n));
    expect(back.reverse()).toEqual(there);
    expect(epochOf(forward, 0)).not.toEqual(epochOf(forward, 1));
  });

  it("fills batches with similar lengths, and leaves out what does not fill one where asked", () => {
    const lengths = Array.from({ length: 40 }, (_, i) => i);
    const sorted = createSampler({ count: 40, batchSize: 4, rng: new Rng(1), lengths });
    const spread = (batches: number[][]): number =>
      batches.reduce((sum, b) => sum + Math.max(...b.map((i) => lengths[i]!)) - Math.min(...b.map((i) => lengths[i]!)), 0);
    expect(spread(epochOf(sorted, 0))).toBe(30);
    expect(spread(epochOf(createSampler({ count: 40, batchSize: 4, rng: new Rng(1) }), 0))).toBeGreaterThan(100);
    for (const given of [{}, { lengths: lengths.slice(0, 10) }]) {
      const even = createSampler({ count: 10, batchSize: 4, rng: new Rng(1), dropLast: true, ...given });
      expect(epochOf(even, 2).map((b) => b.length)).toEqual([4, 4]);
    }
  });
});
