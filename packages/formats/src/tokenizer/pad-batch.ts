import { padRows, padValues } from "@lfm/core";
import type { Encoded, TokenBatch } from "./tokenizer.js";

/** Pads rows on the right to the longest of them, at least one column. */
export function padBatch(rows: readonly Encoded[], pad: number): TokenBatch {
  return {
    ...padRows(
      rows.map((r) => r.ids),
      { fill: pad },
    ),
    segments: padValues(
      "i32",
      rows.map((r) => r.segments),
    ),
  };
}
