import type { HostTensor } from "@lfm/core";

export interface EncodeOptions {
  /** Second text of a pair, in segment 1. */
  readonly pair?: string;
  /** Put the model's special tokens around (default). */
  readonly addSpecialTokens?: boolean;
}

export interface SpecialTokens {
  readonly pad: number | undefined;
  readonly bos: number | undefined;
  readonly eos: number | undefined;
  readonly unk: number | undefined;
  readonly cls: number | undefined;
  readonly sep: number | undefined;
  readonly mask: number | undefined;
}

/** Text to token ids and back. */
export interface Tokenizer {
  readonly vocabSize: number;
  readonly specials: SpecialTokens;
  encode(text: string, options?: EncodeOptions): { readonly ids: readonly number[]; readonly segments: readonly number[] };
  /** Right-padded: tokens i32[n, seq], mask f32[n, seq], segments i32[n, seq]. `maxLength` cuts, keeping the special tokens at the end. */
  encodeBatch(
    texts: readonly string[],
    options?: { readonly maxLength?: number },
  ): { readonly tokens: HostTensor; readonly mask: HostTensor; readonly segments: HostTensor };
  decode(ids: readonly number[], options?: { readonly skipSpecialTokens?: boolean }): string;
}
