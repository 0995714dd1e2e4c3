import { throwIfAborted } from "@lfm/core";
import type { Hit, Passage } from "@lfm/data";
import type { Answerer, Retriever } from "./methods/rag.js";

/** What answering says to a generator. */
export interface AnswerOptions {
  readonly maxNewTokens: number;
  /** Tokens that end an answer. */
  readonly eos?: number | readonly number[];
}

/** The part of a generator (`createGenerator` of @lfm/models) that answering needs. */
export interface TextGenerator<O extends AnswerOptions = AnswerOptions> {
  generate(prompt: readonly number[], options: O & { readonly signal?: AbortSignal }): Promise<{ readonly tokens: readonly number[] }>;
}

/** The part of a tokenizer (`loadTokenizer` of @lfm/formats) that answering needs. */
export interface TextTokenizer {
  encode(text: string): { readonly ids: readonly number[] };
  decode(ids: readonly number[], options?: { readonly skipSpecialTokens?: boolean }): string;
}

/**
 * A model and its tokenizer as an answerer: each prompt is continued up to the first line break.
 * @param options what the generator is told with each prompt, by its number of tokens: `continuationOf` of @lfm/models knows what the model's
 *   folder wants
 */
export function generatorAnswerer<O extends AnswerOptions = AnswerOptions>(
  generator: TextGenerator<O>,
  tokenizer: TextTokenizer,
  options: (prompt: number) => O,
): Answerer {
  return async (prompts, signal) => {
    const answers: string[] = [];
    for (const prompt of prompts) {
      throwIfAborted(signal, "[@lfm/retrieval] answering");
      const { ids } = tokenizer.encode(prompt);
      const { tokens } = await generator.generate(ids, { ...options(ids.length), ...(signal ? { signal } : {}) });
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
