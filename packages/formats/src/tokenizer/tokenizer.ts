import type { HostTensor } from "@lfm/core";

/** Ids of the special tokens that a tokenizer has. */
export interface SpecialTokens {
  readonly pad: number | undefined;
  readonly bos: number | undefined;
  readonly eos: number | undefined;
  readonly unk: number | undefined;
  readonly cls: number | undefined;
  readonly sep: number | undefined;
  readonly mask: number | undefined;
}

export interface EncodeOptions {
  /** A second text: premise and hypothesis, question and passage. */
  readonly pair?: string;
  /** Default true. */
  readonly addSpecialTokens?: boolean;
}

export interface Encoded {
  readonly ids: readonly number[];
  /** 0 for the first text and its special tokens, 1 for the second, as long as `ids`. */
  readonly segments: readonly number[];
}

export interface BatchOptions {
  /** Tokens per row, special ones included; longer texts are cut, of pairs the longer text first. Default: no limit. */
  readonly maxLength?: number;
  /** One second text per text. */
  readonly pairs?: readonly string[];
  /** Default true. */
  readonly addSpecialTokens?: boolean;
}

/** Rows padded on the right to the longest of them. */
export interface TokenBatch {
  /** i32[texts, seq] */
  readonly tokens: HostTensor;
  /** f32[texts, seq]: 1 for a token, 0 for padding */
  readonly mask: HostTensor;
  /** i32[texts, seq] */
  readonly segments: HostTensor;
}

/** Text to token ids and back. */
export interface Tokenizer {
  /** Ids lie in 0..vocabSize−1. */
  readonly vocabSize: number;
  readonly specials: SpecialTokens;
  /** What `encode` puts around a single text by itself. A special token that is only named (GPT-2's bos) is not among it. */
  readonly around: { readonly before: readonly number[]; readonly after: readonly number[] };
  encode(text: string, options?: EncodeOptions): Encoded;
  /** @throws {LfmError} CONFIG_INVALID when `maxLength` leaves no room beside the special tokens, or pairs are not as many as texts */
  encodeBatch(texts: readonly string[], options?: BatchOptions): TokenBatch;
  decode(ids: Iterable<number>, options?: { readonly skipSpecialTokens?: boolean }): string;
}

/**
 * How much of two texts is kept so that together they fit `room`, cutting the longer one first;
 * texts that are both too long share it, the odd token goes to the longer.
 */
export function fitPair(first: number, second: number, room: number): readonly [number, number] {
  if (first + second <= room) return [first, second];
  const short = Math.min(first, second);
  const long = Math.max(short, room - short);
  const [a, b] = short + long > room ? [Math.floor(room / 2), Math.ceil(room / 2)] : [short, long];
  return first > second ? [b, a] : [a, b];
}
