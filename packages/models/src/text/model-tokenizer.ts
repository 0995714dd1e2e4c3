import { i32, LfmError, type ModelInfo } from "@lfm/core";
import type { TokenBatch, Tokenizer } from "@lfm/formats";

/** What of a model bounds the ids that it reads. */
export type ReadingLimits = Pick<ModelInfo, "vocabSize" | "maxLength">;

/**
 * A tokenizer that gives a model what it can read: ids that its embedding has rows for, and batches no longer than its positions. A padding
 * token without a row (added to the tokenizer when the embedding was not resized) is filled with token 0, for what fills up is masked.
 */
export function modelTokenizer(tokenizer: Tokenizer, limits: ReadingLimits): Tokenizer {
  const { vocabSize: rows, maxLength: positions = Number.POSITIVE_INFINITY } = limits;
  return {
    ...tokenizer,
    encode: (text, options) => {
      const encoded = tokenizer.encode(text, options);
      requireRows(tokenizer, encoded.ids, rows);
      return encoded;
    },
    encodeBatch: (texts, options = {}) => {
      const length = Math.min(options.maxLength ?? Number.POSITIVE_INFINITY, positions);
      const batch = tokenizer.encodeBatch(texts, Number.isFinite(length) ? { ...options, maxLength: length } : options);
      return rows === undefined ? batch : readable(tokenizer, batch, rows);
    },
  };
}

/**
 * @param rows of the model's embedding; undefined where it has none
 * @throws {LfmError} CONFIG_INVALID naming token, id and rows
 */
export function requireRows(tokenizer: Pick<Tokenizer, "decode">, ids: readonly number[], rows: number | undefined): void {
  const outside = rows === undefined ? undefined : ids.find((id) => id >= rows);
  if (outside === undefined) return;
  throw new LfmError(
    "CONFIG_INVALID",
    `[@lfm/models] the token ${JSON.stringify(tokenizer.decode([outside]))} has the id ${outside}, the model's embedding ${rows} rows`,
    { hint: "take it out of the texts, or use the model whose embedding was resized for this tokenizer" },
  );
}

function readable(tokenizer: Tokenizer, batch: TokenBatch, rows: number): TokenBatch {
  const { data, shape } = batch.tokens;
  const ids = new Int32Array(data.length);
  const read: number[] = [];
  for (let i = 0; i < ids.length; i++) {
    const [id, own] = [Number(data[i]), Number(batch.mask.data[i]) === 1];
    if (own) read.push(id);
    ids[i] = own || id < rows ? id : 0;
  }
  requireRows(tokenizer, read, rows);
  return { ...batch, tokens: i32(ids, shape) };
}
