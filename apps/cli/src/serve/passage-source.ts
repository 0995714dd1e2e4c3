import type { FoundPassage, OpenedSearch } from "../inputs/open-search.js";
import { EmbeddingQueue } from "./embedding-queue.js";

/** Where a server looks things up. */
export interface PassageSource {
  /** Tokens that passages may take in a prompt. */
  readonly budget: number;
  /** What is found for a text, one search after the other. @throws {ApiError} 429 where more wait than may */
  lookUp(text: string, most: number, signal: AbortSignal): Promise<readonly FoundPassage[]>;
}

/** @param top passages for a question */
export function passageSource(
  search: Pick<OpenedSearch, "lookUp">,
  { top, budget }: { readonly top: number; readonly budget: number },
): PassageSource {
  const queue = new EmbeddingQueue();
  return {
    budget,
    lookUp: (text, most, signal) =>
      queue.run(1, most, () => {
        signal.throwIfAborted();
        return search.lookUp(text, top);
      }),
  };
}
