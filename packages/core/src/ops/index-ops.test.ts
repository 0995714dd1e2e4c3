import { expect, it } from "vitest";
import { grad } from "../autodiff.js";
import { compile } from "../compile.js";
import { f32, i32 } from "../dtype.js";
import { referenceEngine } from "../engines/reference.js";
import { gather, mul, sum } from "./index.js";

it("a padding row is read like every other, and no gradient reaches it", async () => {
  const specs = { x: { dtype: "f32", shape: [3, 2] }, at: { dtype: "i32", shape: [2, 2] }, w: { dtype: "f32", shape: [2, 2, 2] } } as const;
  const run = await compile(referenceEngine(), specs, ({ x, at, w }) => {
    const rows = gather(x, at, 0, { padding: 1 });
    return { rows, dx: grad(sum(mul(rows, w)), { x }).x };
  });
  const { rows, dx } = await run({
    x: f32([1, 2, 3, 4, 5, 6], [3, 2]),
    at: i32([1, 2, 2, 0], [2, 2]),
    w: f32([1, 2, 3, 4, 5, 6, 7, 8], [2, 2, 2]),
  });
  expect(Array.from(rows.data, Number)).toEqual([3, 4, 5, 6, 5, 6, 1, 2]);
  expect(Array.from(dx.data, Number)).toEqual([7, 8, 0, 0, 8, 10]);
  await run.dispose();
});
