import { f32, i32 } from "@lfm/core";
import type { Encoded, TokenBatch } from "./tokenizer.js";

/** Pads rows on the right to the longest of them, at least one column. */
export function padBatch(rows: readonly Encoded[], pad: number): TokenBatch {
  let seq = 1;
  for (const row of rows) seq = Math.max(seq, row.ids.length);
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
