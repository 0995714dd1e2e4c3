import { Rng } from "@lfm/core";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { z } from "zod";
import { schemaFlags } from "../commands/schema-flags.js";
import { rungsOf } from "./rungs.js";
import { drawFrom, gridOf, readSpace } from "./space.js";

const flags = schemaFlags(
  z.strictObject({
    lr: z.number(),
    r: z.number().int(),
    targetModules: z.array(z.string()),
    useDora: z.boolean(),
    optimizer: z.enum(["adamw", "sgd"]),
    scale: z.union([z.number(), z.array(z.number())]),
    rankPattern: z.record(z.string(), z.number()),
  }),
);
const read = (...texts: string[]) => readSpace(texts, flags);

describe("what is swept over", () => {
  it("reads values of each kind, by flag or key", () => {
    expect(read("lr=1e-4,0.01", "target-modules=q+v,k", "useDora=true,false", "optimizer=sgd", "scale=1,2+3")).toEqual([
      { key: "lr", values: [1e-4, 0.01] },
      { key: "targetModules", values: [["q", "v"], ["k"]] },
      { key: "useDora", values: [true, false] },
      { key: "optimizer", values: ["sgd"] },
      { key: "scale", values: [1, [2, 3]] },
    ]);
    expect(read("r=4..64", "lr=1e-5..1e-2:log")).toEqual([
      { key: "r", low: 4, high: 64, log: false, whole: true },
      { key: "lr", low: 1e-5, high: 1e-2, log: true, whole: false },
    ]);
  });

  it.each([
    ["rnk=4", /no option "rnk"/],
    ["lr", /says no values/],
    ["lr=fast", /"fast" is no number/],
    ["lr=1..0", /is no range/],
    ["lr=0..1:log", /begins above 0/],
    ["use-dora=1", /neither true nor false/],
    ["rank-pattern={}", /cannot be swept/],
  ])("refuses %s", (text, message) => expect(() => read(text)).toThrow(message));

  it("refuses an option twice, a range in a grid, and a grid without end", () => {
    expect(() => read("lr=1", "lr=2")).toThrow(/swept twice/);
    expect(() => gridOf(read("r=1..8"))).toThrow(/is a range/);
    const many = Array.from({ length: 101 }, (_, i) => i + 1).join(",");
    expect(() => gridOf(read(`r=${many}`, `lr=${many}`))).toThrow(/more than 10,000/);
  });

  it("makes every combination, the last option fastest", () => {
    expect(gridOf(read("r=4,8", "lr=1,2"))).toEqual([
      { r: 4, lr: 1 },
      { r: 4, lr: 2 },
      { r: 8, lr: 1 },
      { r: 8, lr: 2 },
    ]);
  });

  it("draws different combinations within the bounds, the same ones for a seed, and no more than there are", () => {
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 1e6 }), (seed) => {
        const space = read("lr=1e-5..1e-2:log", "r=4..8", "optimizer=adamw,sgd");
        const drawn = drawFrom(space, 10, new Rng(seed));
        expect(new Set(drawn.map((c) => JSON.stringify(c))).size).toBe(10);
        for (const { lr, r } of drawn as readonly { lr: number; r: number }[]) {
          expect(lr >= 1e-5 && lr <= 1e-2 && Number.isInteger(r) && r >= 4 && r <= 8).toBe(true);
        }
        expect(drawFrom(space, 10, new Rng(seed))).toEqual(drawn);
        expect(drawFrom(read("r=4,8"), 10, new Rng(seed))).toHaveLength(2);
      }),
      { numRuns: 50 },
    );
    // In log, half of the draws lie below the geometric mean.
    const below = drawFrom(read("lr=1e-6..1e-2:log"), 400, new Rng(1)).filter(({ lr }) => (lr as number) < 1e-4).length;
    expect(below).toBeGreaterThan(160);
    expect(below).toBeLessThan(240);
  });
});

describe("successive halving", () => {
  it("keeps one of eta, with eta times the steps, until one is left", () => {
    expect(rungsOf(9, 90, 3)).toEqual([
      { candidates: 9, steps: 10 },
      { candidates: 3, steps: 30 },
      { candidates: 1, steps: 90 },
    ]);
    expect(rungsOf(5, 7, 2)).toEqual([
      { candidates: 5, steps: 1 },
      { candidates: 3, steps: 2 },
      { candidates: 2, steps: 4 },
      { candidates: 1, steps: 7 },
    ]);
    expect(rungsOf(1, 7, 2)).toEqual([{ candidates: 1, steps: 7 }]);
  });
});
