import { compile, f32, type HostTensor, i32, referenceEngine, sym } from "@lfm/core";
import { expect, it } from "vitest";
import { rowsAt } from "./rows-at.js";

it("takes a row of each sequence behind what stands in front", async () => {
  const x = f32(
    Array.from({ length: 2 * 5 * 2 }, (_, i) => i),
    [2, 5, 2],
  );
  const f = await compile(
    referenceEngine(),
    { x: { dtype: "f32", shape: [sym("batch"), 5, 2] }, index: { dtype: "i32", shape: [sym("batch")] } },
    (input) => ({ rows: rowsAt(input.x, input.index, 3) }),
  );
  // Two rows stand in front: row 0 of the first is its third, row 2 of the second its fifth.
  const { rows } = (await f({ x, index: i32([0, 2]) })) as { rows: HostTensor };
  expect(rows.shape).toEqual([2, 1, 2]);
  expect(Array.from(rows.data as Float32Array)).toEqual([4, 5, 18, 19]);
  await f.dispose();
});
