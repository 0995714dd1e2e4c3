import { type HostTensor, LfmError, padValues } from "@lfm/core";
import { type LearningTask, languageModeling, packByLength, scoredPositions, withBatches } from "@lfm/train";
import { type BatchOptions, languageBatch, predictedRows, samplerOf, type TokenRow } from "./token-rows.js";

/**
 * Language modelling over rows that hold several examples each, up to `maxLength` tokens: what is learned is the same as of one example a row, with
 * less filling. Batches count such rows; every epoch shows each once.
 * @throws {LfmError} CAPABILITY_MISSING for answers of an encoder-decoder
 */
export function packedTask(rows: readonly TokenRow[], o: BatchOptions): LearningTask {
  if (predictedRows(rows).answers)
    throw new LfmError("CAPABILITY_MISSING", "[@lfm/tuning] a decoder reads all of its encoder's row: answers are not packed", {
      hint: "leave pack (--pack) out",
    });
  const packs = packByLength(
    rows.map((r) => r.ids.length),
    o.maxLength,
  );
  const sampler = samplerOf(packs.length, o);
  const batch = (number: number): Readonly<Record<string, HostTensor>> =>
    packedBatch(sampler.batch(number).map((pack) => packs[pack]!.map((i) => rows[i]!)));
  return withBatches(languageModeling("examples", { packed: true }), batch, sampler.perEpoch);
}

/** A batch as `languageModeling` packed reads it: `tokens`, `weights`, `positions` and `packed` [rows, seq], right-padded, and `scored`. */
export function packedBatch(packs: readonly (readonly TokenRow[])[]): Readonly<Record<string, HostTensor>> {
  // What stands first in an example follows nothing, whatever stands before it in the row.
  const joined = packs.map((pack) => ({
    ids: pack.flatMap((r) => r.ids),
    weights: pack.flatMap((r) => r.weights.map((w, i) => (i > 0 ? w : 0))),
    whole: 0,
  }));
  const { tokens, weights } = languageBatch(joined);
  const each = (value: (example: number, place: number) => number): number[][] =>
    packs.map((pack) => pack.flatMap((r, example) => r.ids.map((_, place) => value(example, place))));
  return {
    tokens,
    weights,
    positions: padValues(
      "i32",
      each((_, place) => place),
      { length: 2 },
    ),
    // What fills rows up is an example by itself.
    packed: padValues(
      "i32",
      each((example) => example),
      { length: 2, fill: Math.max(...packs.map((p) => p.length)) },
    ),
    scored: scoredPositions(weights),
  };
}
