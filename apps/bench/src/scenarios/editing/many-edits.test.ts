import { expect, it } from "vitest";
import { chosen, looksAt } from "./many-edits.js";

it("looks after 1, 10, 100 … edits, and at the end", () => {
  expect([looksAt(1), looksAt(10), looksAt(25), looksAt(1000)]).toEqual([[1], [1, 10], [1, 10, 25], [1, 10, 100, 1000]]);
});

it("asks about all edits while they are few, then about the first, the last and some between", () => {
  expect(chosen(4, 9)).toEqual([0, 1, 2, 3]);
  expect(chosen(100, 9)).toEqual([0, 1, 2, 18, 50, 81, 97, 98, 99]);
  for (const [n, count] of [
    [25, 24],
    [1000, 60],
    [11, 10],
  ] as const) {
    const asked = chosen(n, count);
    expect(asked).toHaveLength(count);
    expect(asked).toEqual([...new Set(asked)].sort((a, b) => a - b));
    expect([asked[0], asked.at(-1)]).toEqual([0, n - 1]);
  }
});
