import { Rng } from "@lfm/core";
import { expect, it } from "vitest";
import { rankOfKeys } from "./key-rank.js";

it("counts directions: keys that repeat bring none", () => {
  const keys = Float32Array.of(...[3, 0, 0, 0], ...[0, 4, 0, 0], ...[3, 4, 0, 0]);
  const { width, rank, effective } = rankOfKeys(keys, 3, 4);
  expect([width, rank]).toEqual([4, 2]);
  // Singular values of the Gram matrix [[9,0,9],[0,16,16],[9,16,25]]: √((50 ± √(50² − 4·(9·16 + 9·25 + 16·25 − 81 − 256)))/2).
  const root = Math.sqrt(50 ** 2 - 4 * (9 * 16 + 9 * 25 + 16 * 25 - 81 - 256));
  const [a, b] = [Math.sqrt((50 + root) / 2), Math.sqrt((50 - root) / 2)];
  const [p, q] = [a / (a + b), b / (a + b)];
  expect(effective).toBeCloseTo(Math.exp(-p * Math.log(p) - q * Math.log(q)), 6);
});

it("is the number of keys where they are orthogonal, and never more than the layer's width", () => {
  const square = Float32Array.from({ length: 16 }, (_, i) => (i % 5 === 0 ? 2 : 0));
  expect(rankOfKeys(square, 4, 4)).toEqual({ width: 4, rank: 4, effective: expect.closeTo(4, 9) });
  const rng = new Rng(1);
  const many = Float32Array.from({ length: 12 * 3 }, () => rng.normal());
  expect(rankOfKeys(many, 12, 3).rank).toBe(3);
});

it("counts none of keys that are zero", () => {
  expect(rankOfKeys(new Float32Array(6), 2, 3)).toEqual({ width: 3, rank: 0, effective: 0 });
});
