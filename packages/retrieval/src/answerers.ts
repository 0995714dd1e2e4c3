import { throwIfAborted } from "@lfm/core";
import type { Hit, Passage } from "@lfm/data";
import type { Answerer, Retriever } from "./methods/rag.js";

/** The part of a generator (`createGenerator` of @lfm/models) that answering needs. */
export interface TextGenerator {
  generate(
    prompt: readonly number[],
    options: { readonly maxNewTokens: number; readonly eos?: number | readonly number[]; readonly signal?: AbortSignal },
  ): Promise<{ readonly tokens: readonly number[] }>;
}

/** The part of a tokenizer (`loadTokenizer` of @lfm/formats) that answering needs. */
export interface TextTokenizer {
  encode(text: string): { readonly ids: readonly number[] };
  decode(ids: readonly number[], options?: { readonly skipSpecialTokens?: boolean }): string;
}

/**
 * A model and its tokenizer as an answerer: greedy continuation of each prompt up to the first line break.
 * @param options `maxNewTokens` per answer (default 32); `eos` token that ends an answer
 */
export function generatorAnswerer(
  generator: TextGenerator,
  tokenizer: TextTokenizer,
  options: { readonly maxNewTokens?: number; readonly eos?: number } = {},
): Answerer {
  return async (prompts, signal) => {
    const answers: string[] = [];
    for (const prompt of prompts) {
      throwIfAborted(signal, "[@lfm/retrieval] answering");
      const { tokens } = await generator.generate(tokenizer.encode(prompt).ids, {
        maxNewTokens: options.maxNewTokens ?? 32,
        ...(options.eos === undefined ? {} : { eos: options.eos }),
        ...(signal ? { signal } : {}),
      });
      answers.push(tokenizer.decode(tokens, { skipSpecialTokens: true }).trim().split("\n")[0]!.trim());
    }
    return answers;
  };
}

/** A search function over texts as a retriever of passages. */
export function searchRetriever(passages: readonly Passage[], search: (text: string, k: number) => readonly Hit[]): Retriever {
  const byId = new Map(passages.map((p) => [p.id, p]));
  return async (queries, k) => queries.map((query) => search(query.text, k).map((hit) => byId.get(hit.id)!));
}
