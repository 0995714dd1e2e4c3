import { describe, expect, it } from "vitest";
import { packByLength } from "./packing.js";

describe("packByLength", () => {
  it("packs TRL's example as TRL does: the longest first, each where it leaves least room", () => {
    expect(packByLength([4, 2, 3, 1], 4)).toEqual([[0], [2, 3], [1]]);
    expect(packByLength([3, 5, 2, 2, 3], 5)).toEqual([[1], [0, 2], [4, 3]]);
  });

  it("keeps every item once and fills no row beyond its capacity", () => {
    const lengths = Array.from({ length: 200 }, (_, i) => 1 + ((i * 37) % 29));
    const rows = packByLength(lengths, 32);
    expect(rows.flat().sort((a, b) => a - b)).toEqual(lengths.map((_, i) => i));
    const filled = rows.map((row) => row.reduce((n, i) => n + lengths[i]!, 0));
    expect(Math.max(...filled)).toBeLessThanOrEqual(32);
    // No fewer rows are possible than the tokens need; best fit comes close.
    expect(rows.length).toBeLessThanOrEqual(Math.ceil(lengths.reduce((a, b) => a + b, 0) / 32) + 2);
  });

  it("refuses an item that no row has room for", () => {
    expect(() => packByLength([3, 9], 8)).toThrow(/9 tokens is packed into rows of 8/);
  });
});
