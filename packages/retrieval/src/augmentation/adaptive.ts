import { LfmError, type Rng, throwIfAborted } from "@lfm/core";
import type { Passage } from "@lfm/data";

/** What a model would write next. */
export interface Draft {
  /** Its tokens as text, and how likely each was. */
  readonly pieces: readonly { readonly text: string; readonly probability: number }[];
  /** The text is at its end. */
  readonly ended: boolean;
}

/** Continues a prompt by at most so many tokens. */
export type Drafter = (prompt: string, tokens: number) => Promise<Draft>;

/** When to look something up. */
export interface RetrievalPolicy {
  readonly id: string;
  /** What to look for before this is written; undefined: nothing, it is written as it is. */
  lookUp(draft: Draft, question: string): string | undefined;
}

/** The draft is looked for each time. */
export const alwaysRetrieve: RetrievalPolicy = { id: "always", lookUp: (draft, question) => masked(draft, 0, question) };

export const neverRetrieve: RetrievalPolicy = { id: "never", lookUp: () => undefined };

/**
 * Looks up where the model is unsure (FLARE-direct, arXiv 2305.06983): any token below θ; the draft without the tokens below β is what is looked for, the
 * question where nothing is left.
 * @param theta 0: never; above 1: always. 0.8 in FLARE's settings @param beta 0.4 there @throws {LfmError} CONFIG_INVALID
 */
export function whenUnsure({ theta = 0.8, beta = 0.4 }: { readonly theta?: number; readonly beta?: number } = {}): RetrievalPolicy {
  if (!(theta >= 0) || !(beta >= 0 && beta <= 1))
    throw new LfmError("CONFIG_INVALID", `[@lfm/retrieval] theta must be at least 0 and beta in 0..1, got ${theta} and ${beta}`);
  return {
    id: "when-unsure",
    lookUp: (draft, question) => (draft.pieces.some((piece) => piece.probability < theta) ? masked(draft, beta, question) : undefined),
  };
}

/** Looks up at random: what another policy must be better than at the same rate. @param rate 0..1 */
export function atRandom(rate: number, rng: Rng): RetrievalPolicy {
  return { id: "at-random", lookUp: (draft, question) => (rng.uniform() < rate ? masked(draft, 0, question) : undefined) };
}

function masked(draft: Draft, beta: number, question: string): string {
  const text = draft.pieces
    .filter((piece) => piece.probability >= beta)
    .map((piece) => piece.text)
    .join("")
    .trim();
  return text === "" ? question : text;
}

export interface AdaptiveOptions {
  readonly question: string;
  readonly draft: Drafter;
  readonly retrieve: (query: string, k: number) => Promise<readonly Passage[]>;
  readonly policy: RetrievalPolicy;
  /** The prompt of a question, what was found for the next sentence, and what is written so far. */
  readonly prompt: (question: string, passages: readonly Passage[], written: string) => string;
  /** Passages for a sentence; default 2. */
  readonly passages?: number;
  /** Tokens that are drafted at a time, cut behind the first sentence; default 64. */
  readonly lookAhead?: number;
  /** Sentences at most; default 8. */
  readonly sentences?: number;
  readonly signal?: AbortSignal;
}

export interface AdaptiveAnswer {
  readonly text: string;
  /** Sentences written, and how many of them something was looked up for. */
  readonly steps: number;
  readonly retrievals: number;
  /** Ids of the passages that stood in prompts, each once. */
  readonly citations: readonly string[];
}

/**
 * Writes an answer sentence by sentence: each is drafted, the policy says whether to look something up, and if so it is written again with what was found.
 * @throws {LfmError} ABORTED between two sentences
 */
export async function answerAdaptively(options: AdaptiveOptions): Promise<AdaptiveAnswer> {
  const { question, draft, retrieve, policy, prompt, passages = 2, lookAhead = 64, sentences = 8, signal } = options;
  const citations = new Set<string>();
  let text = "";
  let steps = 0;
  let retrievals = 0;
  while (steps < sentences) {
    throwIfAborted(signal, "[@lfm/retrieval] adaptive answer");
    let next = firstSentence(await draft(prompt(question, [], text), lookAhead));
    const query = next.pieces.length === 0 ? undefined : policy.lookUp(next, question);
    if (query !== undefined) {
      const found = await retrieve(query, passages);
      for (const { id } of found) citations.add(id);
      retrievals++;
      next = firstSentence(await draft(prompt(question, found, text), lookAhead));
    }
    if (next.pieces.length === 0) break;
    steps++;
    text += next.pieces.map((piece) => piece.text).join("");
    if (next.ended) break;
  }
  return { text: text.trim(), steps, retrievals, citations: [...citations] };
}

/** Up to the first piece that ends a sentence. */
function firstSentence(draft: Draft): Draft {
  const end = draft.pieces.findIndex((piece) => /[.!?\n]\s*$/.test(piece.text));
  return end < 0 || end === draft.pieces.length - 1 ? draft : { pieces: draft.pieces.slice(0, end + 1), ended: false };
}
