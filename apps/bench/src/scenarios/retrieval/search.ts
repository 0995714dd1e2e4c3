import { type CellOutcome, type InputKindName, LfmError, type Provider, provider } from "@lfm/core";
import type { Passage, Query, Run } from "@lfm/data";
import {
  type Bm25Index,
  bm25,
  flat,
  passagesInput,
  queriesInput,
  runInput,
  type SearchOutput,
  type TextEncoder,
  textEncoderInput,
  type VectorIndex,
} from "@lfm/retrieval";
import type { CellContext, CellMethod } from "../../scenario.js";
import { runByKind } from "../run-by-kind.js";

/** A run with what it took. */
export interface Found {
  readonly run: Run;
  /** Bytes of the indexes that were asked, as saved. */
  readonly bytes: number;
}

/** What a retrieval cell searches. */
export interface Collection {
  readonly passages: readonly Passage[];
  readonly queries: readonly Query[];
  readonly encoder: TextEncoder;
  /** How names and words are analysed where the method leaves it open. */
  readonly analyzer: "english" | "words";
}

/** What methods that search are given. */
export const searched = ["passages", "queries", "text-encoder", "run"] as const satisfies readonly InputKindName[];

/** Runs the search of a cell; one that joins two runs is given those of bm25 and of flat. @throws {LfmError} CAPABILITY_MISSING for a method that does not search */
export async function findPassages(scenario: string, cell: CellMethod, collection: Collection, context: CellContext): Promise<Found> {
  let bytes = 0;
  const search = async (asked: CellMethod, providers: readonly Provider[]): Promise<Run> => {
    const output = await runByKind<Partial<SearchOutput<Bm25Index | VectorIndex>>>(scenario, asked, providers, context);
    if (!output.run) throw new LfmError("CAPABILITY_MISSING", `[@lfm/bench] ${scenario}: ${asked.method.id} finds no passages`);
    bytes += output.index?.bytes ?? 0;
    return output.run;
  };
  const collected = [
    provider(passagesInput, () => collection.passages),
    provider(queriesInput, () => collection.queries),
    provider(textEncoderInput, () => collection.encoder),
  ];
  const joined = provider(runInput, ({ field }) =>
    field === "first"
      ? search({ method: bm25, config: { analyzer: collection.analyzer } }, collected)
      : search({ method: flat, config: {} }, collected),
  );
  const run = await search(cell, [...collected, joined]);
  return { run, bytes };
}

/** A metric in 0..1, higher is better. */
export function fraction(value: number, note: string): CellOutcome["metrics"][string] {
  return { value, unit: "fraction", higherIsBetter: true, note };
}
