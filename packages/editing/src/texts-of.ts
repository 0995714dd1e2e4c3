import { LfmError, type Rng } from "@lfm/core";
import type { Corpus } from "@lfm/statistics";

/** Rows of a corpus' first batch, drawn at random. @throws {LfmError} CONFIG_INVALID for a corpus of no tokens */
export function textsOf(corpus: Corpus, count: number, rng: Rng): readonly (readonly number[])[] {
  const { tokens, mask } = corpus.batches(0);
  const [rows, width] = tokens?.shape ?? [];
  if (!tokens || !mask || !rows || !width)
    throw new LfmError("CONFIG_INVALID", `[@lfm/editing] the corpus "${corpus.name}" holds no rows of tokens`);
  const all = Array.from({ length: rows }, (_, r) => r);
  return rng.sample(all, count).map((r) => {
    const places = Array.from({ length: width }, (_, j) => r * width + j);
    return places.filter((at) => Number(mask.data[at]) > 0).map((at) => Number(tokens.data[at]));
  });
}
