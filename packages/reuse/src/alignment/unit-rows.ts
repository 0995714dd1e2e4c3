import { type HostTensor, sizeOf, widenToF32 } from "@lfm/core";
import type { Rows } from "@lfm/core/linalg";
import type { AxisUse } from "./permutation-spec.js";

/** Everything that belongs to each unit in one parameter, as a row: brings the axis of a use to the front. */
export function unitRows(tensor: HostTensor, use: AxisUse, units: number): Rows {
  const data = widenToF32(tensor).data as Float32Array;
  const length = tensor.shape[use.axis]!;
  const inner = sizeOf(tensor.shape.slice(use.axis + 1));
  const outer = sizeOf(tensor.shape.slice(0, use.axis));
  const width = outer * inner * use.block;
  const rows = new Float32Array(units * width);
  for (let u = 0; u < units; u++) {
    let at = u * width;
    for (let o = 0; o < outer; o++) {
      const from = (o * length + use.offset + u * use.block) * inner;
      rows.set(data.subarray(from, from + use.block * inner), at);
      at += use.block * inner;
    }
  }
  return { rows, width };
}
