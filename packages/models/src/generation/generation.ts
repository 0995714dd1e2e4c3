import { LfmError } from "@lfm/core";
import type { ExampleTensors } from "../named-batch.js";
import type { Decoder } from "./decoder.js";
import type { DecoderRun } from "./decoder-run.js";
import type { GenerateOptions } from "./generate-options.js";
import { logProbabilities } from "./log-probabilities.js";

/**
 * Sequences that the caller steers: it looks at the logits, says what comes next, goes back, follows several ways at once. Between two calls
 * they wait as long as they have to.
 */
export class Generation {
  private readonly decoder: Decoder;
  private run: DecoderRun | undefined;
  private beyond: boolean;

  /** By {@link openGeneration}. */
  constructor(decoder: Decoder, run: DecoderRun) {
    this.decoder = decoder;
    this.run = run;
    this.beyond = isBeyond(decoder, run.lengths());
  }

  /** Tokens of every row, its prompt included; of an encoder-decoder those of its answer. */
  get tokens(): number[][] {
    return this.open().tokens();
  }

  /** Number of tokens of every row. */
  get lengths(): number[] {
    return this.open().lengths();
  }

  /** f32[vocab] of the token after a row. A view that the next call overwrites; what is changed in it, is seen by nobody else. */
  logits(row = 0): Float32Array {
    const rows = this.lengths.length;
    if (!(row >= 0 && row < rows)) throw new LfmError("SHAPE_MISMATCH", `[@lfm/models] generation: there is no row ${row} of ${rows}`);
    return this.open().row(row);
  }

  /** log p of the token after a row, f32[vocab]. */
  logProbabilities(row = 0): Float32Array {
    return logProbabilities(this.logits(row));
  }

  /**
   * Tokens that come after each row, none, one or more: `push([[7], []])` goes on with the first of two alone.
   * @throws {LfmError} SHAPE_MISMATCH for tokens that are none or more than the model reads, CONFIG_INVALID after a swap
   */
  async push(added: readonly (readonly number[])[]): Promise<void> {
    const { lengths } = this;
    if (added.length !== lengths.length)
      throw new LfmError("SHAPE_MISMATCH", `[@lfm/models] generation: ${added.length} pieces for ${lengths.length} rows`);
    checkTokens(this.decoder, added, "what is pushed to row");
    const after = lengths.map((n, b) => n + added[b]!.length);
    checkLengths(this.decoder, after);
    if (this.isStale(after)) await this.again(this.tokens.map((row, b) => [...row, ...added[b]!]));
    else await this.open().push(added);
  }

  /** Whether what is cached was computed of lengths on the other side of the model's `cacheBreak` than these. */
  private isStale(lengths: readonly number[]): boolean {
    return this.beyond !== isBeyond(this.decoder, lengths);
  }

  /** Everything anew. */
  private async again(rows: readonly (readonly number[])[]): Promise<void> {
    const run = this.open();
    run.checkModel();
    this.run = await this.decoder.start(rows, run.room, run.examples());
    this.beyond = isBeyond(this.decoder, this.lengths);
  }

  /**
   * Row i goes on from what is row `rows[i]` now: rows are doubled, dropped, put in another order.
   * @throws {LfmError} SHAPE_MISMATCH for a row that is not there, or none at all
   */
  fork(rows: readonly number[]): void {
    const count = this.lengths.length;
    const missing = rows.find((row) => !(Number.isInteger(row) && row >= 0 && row < count));
    if (missing !== undefined || rows.length === 0)
      throw new LfmError("SHAPE_MISMATCH", `[@lfm/models] generation: fork takes some of ${count} rows, not [${rows}]`);
    this.open().fork(rows);
  }

  /**
   * Cuts rows to their first tokens, prompts included: one length for all, or one for each; a shorter row stays as it is. What was computed of
   * the rest is dropped.
   * @throws {LfmError} SHAPE_MISMATCH for a length below 1
   */
  async rewind(length: number | readonly number[]): Promise<void> {
    const lengths = this.lengths.map((n, b) => Math.min(n, typeof length === "number" ? length : (length[b] ?? n)));
    const odd = lengths.find((n) => !(Number.isInteger(n) && n >= 1));
    if (odd !== undefined) throw new LfmError("SHAPE_MISMATCH", `[@lfm/models] generation: ${odd} is no length of a row`);
    if (this.isStale(lengths)) await this.again(this.tokens.map((row, b) => row.slice(0, lengths[b])));
    else await this.open().rewind(lengths);
  }

  /** Gives the memory of the cache back. */
  close(): void {
    this.run = undefined;
  }

  private open(): DecoderRun {
    if (!this.run) throw new LfmError("CONFIG_INVALID", "[@lfm/models] generation: these sequences were closed");
    return this.run;
  }
}

/** Whether the longest row is longer than the model's `cacheBreak`. */
function isBeyond({ model, front }: Decoder, lengths: readonly number[]): boolean {
  const { cacheBreak } = model.info;
  return cacheBreak !== undefined && front + Math.max(...lengths) > cacheBreak;
}

/**
 * Of an encoder-decoder the prompts are sources, and the rows its answers: they begin with one token.
 * @param room tokens that will come after the prompts, as far as is known: with more the cache moves
 * @param batch what hooks read of each prompt
 * @param answerStart of an encoder-decoder: the token that answers begin with; default the model's
 * @throws {LfmError} SHAPE_MISMATCH for an empty or too long prompt, for tokens that are none, and for tensors that do not fit
 */
export async function openGeneration(
  decoder: Decoder,
  prompts: readonly (readonly number[])[],
  room: number,
  batch?: ExampleTensors,
  answerStart?: number,
): Promise<Generation> {
  if (prompts.length === 0) throw new LfmError("SHAPE_MISMATCH", "[@lfm/models] generate: there is no prompt");
  checkPrompts(decoder, prompts);
  return new Generation(decoder, await decoder.start(prompts, room, batch, answerStart));
}

/** @throws {LfmError} SHAPE_MISMATCH for an empty or too long prompt, and for tokens that are none */
export function checkPrompts(decoder: Decoder, prompts: readonly (readonly number[])[]): void {
  const empty = prompts.findIndex((prompt) => prompt.length === 0);
  if (empty >= 0) throw new LfmError("SHAPE_MISMATCH", `[@lfm/models] generate: prompt ${empty} is empty; begin with a start token`);
  checkTokens(decoder, prompts, "prompt");
  checkLengths(
    decoder,
    prompts.map((p) => p.length),
  );
}

/** New tokens at most, whatever the model reads. */
const MOST_NEW_TOKENS = 2 ** 20;

/**
 * New tokens that a prompt of this length gets at most.
 * @throws {LfmError} CONFIG_INVALID where neither `maxNewTokens` nor the model bounds them
 */
export function newTokensAtMost(decoder: Decoder, prompt: number, { maxNewTokens }: Pick<GenerateOptions, "maxNewTokens">): number {
  const limit = Math.min(maxNewTokens, roomAfter(decoder, prompt));
  if (limit <= MOST_NEW_TOKENS) return limit;
  throw new LfmError("CONFIG_INVALID", `[@lfm/models] generate: maxNewTokens is ${limit}, and the model has no positions that bound it`, {
    hint: `give ${MOST_NEW_TOKENS} at most`,
  });
}

/** Tokens that a sequence of this length may still get; the last needs no position, for nothing is computed from it. */
export function roomAfter(decoder: Decoder, length: number): number {
  const { maxLength } = decoder.model.info;
  return maxLength === undefined ? Number.POSITIVE_INFINITY : maxLength - decoder.front - length + 1;
}

function checkTokens(decoder: Decoder, rows: readonly (readonly number[])[], what: string): void {
  const { vocabSize } = decoder.model.info;
  for (const [i, row] of rows.entries()) {
    const outside = row.find((id) => !(Number.isInteger(id) && id >= 0 && id < vocabSize!));
    if (outside !== undefined)
      throw new LfmError("SHAPE_MISMATCH", `[@lfm/models] generate: token ${outside} of ${what} ${i} is outside 0..${vocabSize! - 1}`);
  }
}

function checkLengths(decoder: Decoder, lengths: readonly number[]): void {
  const { maxLength, architecture } = decoder.model.info;
  for (const [i, length] of lengths.entries())
    if (roomAfter(decoder, length) < 1)
      throw new LfmError(
        "SHAPE_MISMATCH",
        `[@lfm/models] generate: row ${i} has ${length} tokens, ${architecture} reads ${maxLength}${decoder.front > 0 ? `, ${decoder.front} of them in front` : ""}`,
      );
}
