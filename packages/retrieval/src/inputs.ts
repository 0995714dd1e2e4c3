import { inputKind, LfmError } from "@lfm/core";
import type { Passage, Query, Run } from "@lfm/data";
import type { TextEncoder } from "./text-encoder.js";

/** What a search over words is given. */
export interface SearchInputs {
  readonly passages: readonly Passage[];
  readonly queries: readonly Query[];
}

/** What a search over vectors is given. */
export interface EncodedSearchInputs extends SearchInputs {
  readonly encoder: TextEncoder;
}

/** What a search gives back: the run, and the index to ask again or save. */
export interface SearchOutput<Index> {
  readonly run: Run;
  readonly index: Index;
}

/** Documents that are searched. */
export const passagesInput = inputKind<readonly Passage[]>("passages");
/** What is looked for. */
export const queriesInput = inputKind<readonly Query[]>("queries");
/** A model that makes vectors of texts. */
export const textEncoderInput = inputKind<TextEncoder>("text-encoder");
/** What a search found. */
export const runInput = inputKind<Run>("run");

/** @throws {LfmError} CONFIG_INVALID when two queries share an id */
export function checkQueries(method: string, queries: readonly Query[]): void {
  const seen = new Set<string>();
  for (const { id } of queries) {
    if (seen.has(id)) throw new LfmError("CONFIG_INVALID", `[@lfm/retrieval] ${method}: query id "${id}" stands twice`);
    seen.add(id);
  }
}
