import { f32 } from "@lfm/core";
import { expect, it } from "vitest";
import type { AxisUse } from "./permutation-spec.js";
import { unitRows } from "./unit-rows.js";

const use = (axis: number, offset = 0, block = 1): AxisUse => ({ param: "w", axis, offset, block, channel: "units", makes: true });

it("rows of units, hand-worked: axis 1 of [2, 4] in blocks of two, and from an offset", () => {
  const w = f32([1, 2, 3, 4, 5, 6, 7, 8], [2, 4]);
  expect(unitRows(w, use(1, 0, 2), 2)).toEqual({ rows: Float32Array.of(1, 2, 5, 6, 3, 4, 7, 8), width: 4 });
  expect(unitRows(w, use(1, 2), 2)).toEqual({ rows: Float32Array.of(3, 7, 4, 8), width: 2 });
  expect(unitRows(w, use(0), 2)).toEqual({ rows: w.data, width: 4 });
});
