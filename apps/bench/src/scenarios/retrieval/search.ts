import { type AnyMethod, type CellOutcome, LfmError, runMethod } from "@lfm/core";
import type { Passage, Query, Run } from "@lfm/data";
import { type Bm25Index, bm25, type FlatIndex, flat, type HybridInputs, type TextEncoder } from "@lfm/retrieval";
import type { CellContext, CellMethod } from "../../scenario.js";

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

/** Runs the search of a cell: bm25 and flat as they are, hybrid over the runs of both, anything else over bm25. */
export async function findPassages(cell: CellMethod, collection: Collection, context: CellContext): Promise<Found> {
  const { id } = cell.method;
  if (id === "flat") return search(flat, cell.config, collection, context);
  if (id === "bm25") return search(bm25, cell.config, collection, context);
  const words = await search(bm25, { analyzer: collection.analyzer }, collection, context);
  if (id !== "hybrid") return words;
  const vectors = await search(flat, {}, collection, context);
  const inputs: HybridInputs = { first: words.run, second: vectors.run };
  const { run }: { readonly run: Run } = await runMethod(cell.method, inputs, cell.config, context);
  return { run, bytes: words.bytes + vectors.bytes };
}

async function search(
  method: AnyMethod,
  config: Readonly<Record<string, unknown>>,
  collection: Collection,
  context: CellContext,
): Promise<Found> {
  const output: { readonly run: Run; readonly index: Bm25Index | FlatIndex } = await runMethod(method, collection, config, context);
  return { run: output.run, bytes: output.index.bytes };
}

/** A metric in 0..1, higher is better. */
export function fraction(value: number, note: string): CellOutcome["metrics"][string] {
  return { value, unit: "fraction", higherIsBetter: true, note };
}

/** @throws {LfmError} CONFIG_INVALID for a method that this scenario cannot pose its task to */
export function expectMethod(cell: CellMethod, scenario: string, ids: readonly string[]): void {
  if (ids.includes(cell.method.id)) return;
  throw new LfmError("CONFIG_INVALID", `[@lfm/bench] ${scenario} has no use for ${cell.method.id}`, {
    hint: `it takes: ${ids.join(", ")}`,
  });
}
