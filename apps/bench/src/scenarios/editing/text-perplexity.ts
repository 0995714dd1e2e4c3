import type { Metric, Model } from "@lfm/core";
import { createAnswerScorer } from "@lfm/editing";
import { idsOfText } from "@lfm/models";
import type { CellContext } from "../../scenario.js";
import type { EditedBase } from "./evaluate-edits.js";

const WINDOW = 256;

/** Perplexity of a running text, of one model after the other on the same base. */
export interface TextPerplexity {
  of(model: Model, signal?: AbortSignal): Promise<number>;
  dispose(): Promise<void>;
}

/** @param tokens of the text's beginning that are looked at, in windows side by side */
export async function openPerplexity(
  { model, rules }: EditedBase,
  text: string,
  tokens: number,
  { engine }: Pick<CellContext, "engine">,
): Promise<TextPerplexity> {
  // A token is four letters or so: no more of the text is read than could be looked at.
  const ids = idsOfText(rules, text.slice(0, 16 * tokens)).slice(0, tokens);
  const windows = Array.from({ length: Math.ceil(ids.length / WINDOW) }, (_, i) => ids.slice(i * WINDOW, (i + 1) * WINDOW))
    .filter((window) => window.length > 1)
    .map((window) => ({ prompt: window.slice(0, 1), answer: window.slice(1) }));
  const scorer = await createAnswerScorer(engine, model, { batchSize: 1 });
  return {
    of: async (edited, signal) => {
      await scorer.swap(edited);
      return perplexityOf(await scorer.score(windows, signal));
    },
    dispose: scorer.dispose,
  };
}

/** e to the mean of −log p over all tokens. */
export function perplexityOf(scores: readonly { readonly logProbs: readonly number[] }[]): number {
  const all = scores.flatMap(({ logProbs }) => logProbs);
  return Math.exp(-all.reduce((a, b) => a + b, 0) / all.length);
}

/** Mean over the edits after which it was taken. */
export function perplexityMetric(after: readonly number[], before: number, about: string): Metric {
  const value = after.reduce((a, b) => a + b, 0) / after.length;
  return { value, base: before, unit: "perplexity", higherIsBetter: false, note: about };
}
