import { f32, type HostTensor, i32 } from "@lfm/core";

/** Rows of ids to tokens i32[n, seq], mask f32[n, seq] and segments i32[n, seq], padded on the right. */
export function padBatch(
  rows: readonly { readonly ids: readonly number[]; readonly segments: readonly number[] }[],
  pad: number,
): { readonly tokens: HostTensor; readonly mask: HostTensor; readonly segments: HostTensor } {
  const seq = Math.max(1, ...rows.map((r) => r.ids.length));
  const shape = [rows.length, seq];
  const tokens = new Int32Array(rows.length * seq).fill(pad);
  const mask = new Float32Array(rows.length * seq);
  const segments = new Int32Array(rows.length * seq);
  for (const [i, row] of rows.entries()) {
    tokens.set(row.ids, i * seq);
    segments.set(row.segments, i * seq);
    mask.fill(1, i * seq, i * seq + row.ids.length);
  }
  return { tokens: i32(tokens, shape), mask: f32(mask, shape), segments: i32(segments, shape) };
}
