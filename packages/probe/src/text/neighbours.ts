import { LfmError, type Model, weightOf } from "@lfm/core";
import type { TextRules } from "@lfm/models";
import type { Transformation } from "./recipe.js";

export interface NeighbourOptions {
  /** Words that a word may give place to. */
  readonly count: number;
  /** Cosine between a word's vector and that of what takes its place, at least. */
  readonly minCosine: number;
}

/**
 * Exchanges a word for those whose vectors lie near its own in the victim's table; of a word of several tokens the mean stands. Candidates are the
 * tokens of the vocabulary that are whole words.
 * @throws {LfmError} CAPABILITY_MISSING for a model without a table of tokens
 */
export function neighbours(
  victim: Model,
  { tokenizer }: Pick<TextRules, "tokenizer">,
  { count, minCosine }: NeighbourOptions,
): Transformation {
  const table = victim.info.sites.find((s) => s.kind === "embedding" && s.weight)?.weight;
  if (victim.info.input !== "tokens" || !table)
    throw new LfmError(
      "CAPABILITY_MISSING",
      `[@lfm/probe] ${victim.info.architecture} has no vectors of tokens: words have no neighbours in it`,
    );
  const { data, shape } = weightOf(victim, table.name);
  const width = shape[1]!;
  const vector = (id: number): Float32Array => (data as Float32Array).subarray(id * width, (id + 1) * width);
  const own = (word: string): readonly number[] => tokenizer.encode(word, { addSpecialTokens: false }).ids;
  const candidates = wholeWords(tokenizer, Math.min(shape[0]!, tokenizer.vocabSize)).map(({ id, word }) => ({
    word,
    vector: unit(vector(id)),
  }));
  const found = new Map<string, readonly string[]>();
  return (words, place) => {
    const word = words[place]!;
    const known = found.get(word);
    if (known) return known;
    const ids = own(word);
    const mean = new Float32Array(width);
    for (const id of ids) for (const [i, v] of vector(id).entries()) mean[i] = mean[i]! + v / ids.length;
    const at = unit(mean);
    const near = candidates
      .filter((c) => c.word !== word)
      .map((c) => ({ word: c.word, cosine: c.vector.reduce((sum, v, i) => sum + v * at[i]!, 0) }))
      .filter((c) => c.cosine >= minCosine)
      .sort((a, b) => b.cosine - a.cosine || (a.word < b.word ? -1 : 1))
      .slice(0, count)
      .map((c) => c.word);
    found.set(word, near);
    return near;
  };
}

/** Tokens that are a word on their own: letters alone that are read back as this one token. */
function wholeWords(tokenizer: TextRules["tokenizer"], size: number): readonly { readonly id: number; readonly word: string }[] {
  return Array.from({ length: size }, (_, id) => ({ id, word: tokenizer.decode([id]).trim() })).filter(({ id, word }) => {
    if (!/^\p{L}+$/u.test(word)) return false;
    const { ids } = tokenizer.encode(word, { addSpecialTokens: false });
    return ids.length === 1 && ids[0] === id;
  });
}

function unit(vector: Float32Array): Float32Array {
  const length = Math.hypot(...vector);
  return vector.map((v) => (length === 0 ? 0 : v / length));
}
