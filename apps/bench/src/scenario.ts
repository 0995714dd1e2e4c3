import type { AnyMethod, CellOutcome, MethodContext, Need, Paradigm } from "@lfm/core";
import type { z } from "zod";

/** What a cell is given besides what every method gets. */
export interface CellContext extends MethodContext {
  readonly seed: number;
  /**
   * Makes a thing once per run and hands it to every cell that asks under the same key: teachers, fine-tuned models, indexes.
   * The key must name everything that the thing depends on, the seed included. The time of making is taken apart, as the set-up of the first cell that asks.
   * What lies outside of memory is given back by `release`, when the last cell has run.
   */
  shared<T>(key: string, make: () => Promise<T>, release?: (thing: T) => void): Promise<T>;
  /** Folders of real data and models; undefined where they are not at hand. */
  readonly folders: { readonly data: string | undefined; readonly models: string | undefined };
}

/** The method of a cell with its options, parsed against its schema. */
export interface CellMethod {
  readonly method: AnyMethod;
  readonly config: Readonly<Record<string, unknown>>;
  /** Options of the scenario; what is not there has its default. */
  readonly options?: Readonly<Record<string, unknown>>;
}

/**
 * A task of the benchmark with the model it is posed to: where methods of one paradigm are put to the test.
 * A cell is scenario × method × seed. `run` trains on training data, measures on test data, and reports what was gained, kept and spent.
 */
export interface Scenario {
  /** Unique within the paradigm, kebab-case; stands as `task` in results. */
  readonly id: string;
  readonly paradigm: Paradigm;
  /** Name of the model, e.g. "zoo-lm". */
  readonly model: string;
  /** One sentence: what is asked and how the headline metric is computed. */
  readonly summary: string;
  /** Name of the metric shown in tables and plots. */
  readonly headline: string;
  /** What the scenario lets a method see. */
  readonly access: readonly Need[];
  /** What of it suites may set, with defaults: sizes. One scenario has the same options in all cells of a run. */
  readonly options?: z.ZodObject;
  /** Folders without which the cell is skipped, with the reason in its result. */
  readonly requires?: readonly ("data" | "models")[];
  run(cell: CellMethod, context: CellContext): Promise<CellOutcome>;
}
