import { LfmError } from "@lfm/core";
import type { Passage, Query, Run, TextEncoder } from "./types.js";

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

/** @throws {LfmError} CONFIG_INVALID when two queries share an id */
export function checkQueries(method: string, queries: readonly Query[]): void {
  const seen = new Set<string>();
  for (const { id } of queries) {
    if (seen.has(id)) throw new LfmError("CONFIG_INVALID", `[@lfm/retrieval] ${method}: query id "${id}" stands twice`);
    seen.add(id);
  }
}
