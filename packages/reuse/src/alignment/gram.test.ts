import { f32, Rng } from "@lfm/core";
import { expect, it } from "vitest";
import { addInnerProducts, unitRows } from "./gram.js";
import type { AxisUse } from "./permutation-spec.js";

const use = (axis: number, offset = 0, block = 1): AxisUse => ({ param: "w", axis, offset, block, channel: "units", makes: true });

it("rows of units, hand-worked: axis 1 of [2, 4] in blocks of two, and from an offset", () => {
  const w = f32([1, 2, 3, 4, 5, 6, 7, 8], [2, 4]);
  expect(unitRows(w, use(1, 0, 2), 2)).toEqual({ rows: Float32Array.of(1, 2, 5, 6, 3, 4, 7, 8), width: 4 });
  expect(unitRows(w, use(1, 2), 2)).toEqual({ rows: Float32Array.of(3, 7, 4, 8), width: 2 });
  expect(unitRows(w, use(0), 2)).toEqual({ rows: w.data, width: 4 });
});

it.each([
  [1, 3],
  [2, 5],
  [5, 7],
  [9, 4100],
  [12, 33],
])("%i units of %i values: every inner product, whatever the blocking", (units, width) => {
  const [a, b] = [1, 2].map((seed) => ({ rows: new Rng(seed).normalArray(units * width), width }));
  const gram = new Float64Array(units * units).fill(1);
  addInnerProducts(gram, units, a!, b!);
  for (let i = 0; i < units; i++)
    for (let j = 0; j < units; j++) {
      let sum = 1;
      for (let k = 0; k < width; k++) sum += a!.rows[i * width + k]! * b!.rows[j * width + k]!;
      expect(gram[i * units + j]).toBeCloseTo(sum, 9);
    }
});
