import {
  type CellOutcome,
  deltaBytes,
  deltaSize,
  LfmError,
  type Metric,
  type Model,
  Rng,
  type SampleOutput,
  throwIfAborted,
} from "@lfm/core";
import {
  createEditReader,
  type EditingOutput,
  type Editor,
  type EditProbe,
  type EditReader,
  type EditRequest,
  EditTally,
  nGramEntropy,
  type ProbeReading,
  textSimilarity,
} from "@lfm/editing";
import type { TextRules } from "@lfm/models";
import type { CellContext } from "../../scenario.js";
import { editMetrics, wrongOutputs } from "./edit-metrics.js";

/** An edit with what is asked about it, in words. */
export interface AskedEdit {
  /** In words. */
  readonly name: string;
  readonly request: EditRequest;
  readonly probes: readonly EditProbe[];
  /** Beginnings that speak of the subject, for texts; none where no text is written. */
  readonly openings: readonly string[];
  /** What texts about the subject should be like after the edit; none where there is no such text. */
  readonly references: readonly string[];
}

/** A model that is edited, and how it reads text. */
export interface EditedBase {
  readonly model: Model;
  readonly rules: TextRules;
}

/** What a model answers and writes before any edit. */
export interface Untouched {
  readonly readings: readonly (readonly ProbeReading[])[];
  /** By edit, a text an opening. */
  readonly texts: readonly (readonly string[])[];
}

type Run = Pick<CellContext, "engine" | "seed" | "signal" | "progress">;

/** Sequences of a run of the scorer. */
const BATCH = 64;

/** Asked once for all methods. @param tokens of a text; 0 for none */
export async function readUntouched(
  base: EditedBase,
  edits: readonly AskedEdit[],
  tokens: number,
  run: Omit<Run, "progress">,
): Promise<Untouched> {
  const reader = await createEditReader(run.engine, base.model, base.rules, { batchSize: BATCH });
  try {
    const readings: (readonly ProbeReading[])[] = [];
    const texts: (readonly string[])[] = [];
    for (const [i, edit] of edits.entries()) {
      readings.push(await reader.read(edit.probes, run.signal));
      texts.push(await write(reader, edit, i, tokens, run));
    }
    return { readings, texts };
  } finally {
    await reader.dispose();
  }
}

export interface EditEvaluation {
  readonly metrics: Readonly<Record<string, Metric>>;
  readonly outputs: readonly SampleOutput[];
  /** Of the last edit. */
  readonly last: EditingOutput;
  readonly phasesMs: { readonly prepare: number; readonly edit: number; readonly evaluate: number };
}

/** What a cell says of single edits besides its metrics: of the last one, for all are alike in size. */
export function editOutcome({ last, outputs, phasesMs }: EditEvaluation): Omit<CellOutcome, "metrics" | "modelHash"> {
  return {
    outputs,
    retention: null,
    trainableParams: deltaSize(last.delta),
    bytes: deltaBytes(last.delta),
    queries: 0,
    dataUsed: 1,
    monitors: [],
    curves: {},
    phasesMs,
  };
}

export interface EvaluateOptions {
  readonly before: Untouched;
  /** Tokens of a text that is written about a subject; 0 for none. */
  readonly tokens: number;
  /** Sees every edited model. */
  watch?(edited: Model, edit: number): Promise<void>;
}

/**
 * Makes each edit on the untouched model, and asks about it.
 * @throws {LfmError} CONFIG_INVALID where there is no edit, ABORTED, and what the editor throws
 */
export async function evaluateEdits(
  base: EditedBase,
  edits: readonly AskedEdit[],
  editor: Editor,
  { before, tokens, watch }: EvaluateOptions,
  run: Run,
): Promise<EditEvaluation> {
  const reader = await createEditReader(run.engine, base.model, base.rules, { batchSize: BATCH });
  const tally = new EditTally();
  const texts: (readonly string[])[] = [];
  let [edit, prepare, evaluate] = [0, 0, 0];
  let last: EditingOutput | undefined;
  try {
    for (const [i, one] of edits.entries()) {
      throwIfAborted(run.signal, `[@lfm/bench] edit ${i}`);
      const started = performance.now();
      last = await editor.edit([one.request]);
      const made = performance.now();
      if (i === 0) prepare = made - started;
      else edit += made - started;
      await reader.swap(last.model);
      tally.add(one.name, one.probes, before.readings[i]!, await reader.read(one.probes, run.signal));
      texts.push(await write(reader, one, i, tokens, run));
      await watch?.(last.model, i);
      evaluate += performance.now() - made;
      run.progress({ phase: "edits", done: i + 1, total: edits.length, unit: "edit" });
    }
  } finally {
    await reader.dispose();
  }
  if (!last) throw new LfmError("CONFIG_INVALID", "[@lfm/bench] there is no edit to make and to ask about");
  return {
    metrics: {
      ...editMetrics(tally.scores()),
      ...textMetrics(edits, texts, before.texts, tokens),
      editMs: {
        value: edits.length > 1 ? edit / (edits.length - 1) : prepare,
        unit: "ms",
        higherIsBetter: false,
        note: edits.length > 1 ? "one edit, the first left out, which compiles and takes statistics" : "the first edit",
      },
      edits: { value: edits.length, unit: "count", higherIsBetter: true, note: "edits that were made" },
    },
    outputs: wrongOutputs(tally.worst()),
    last,
    phasesMs: { prepare, edit, evaluate },
  };
}

async function write(
  reader: EditReader,
  { openings }: AskedEdit,
  edit: number,
  tokens: number,
  { seed, signal }: Pick<Run, "seed" | "signal">,
): Promise<readonly string[]> {
  return tokens === 0 || openings.length === 0 ? [] : reader.write(openings, tokens, new Rng(seed).split(`texts/${edit}`), signal);
}

/** Fluency and consistency as ROME's evaluation has them: of an edit's texts, then the mean over edits. */
function textMetrics(
  edits: readonly AskedEdit[],
  after: readonly (readonly string[])[],
  before: readonly (readonly string[])[],
  tokens: number,
): Record<string, Metric> {
  const written = edits.flatMap((_, i) => (after[i]!.length > 0 ? [i] : []));
  if (written.length === 0) return {};
  const mean = (values: readonly number[]): number => values.reduce((a, b) => a + b, 0) / values.length;
  const fluency = (texts: readonly (readonly string[])[]): number => mean(written.map((i) => mean(texts[i]!.map(nGramEntropy))));
  const found: Record<string, Metric> = {
    fluency: {
      value: fluency(after),
      base: fluency(before),
      unit: "bits",
      higherIsBetter: true,
      note: `entropy of pairs and triples of words in texts of ${tokens} tokens about the subject (ngram_entropy of ROME's results)`,
    },
  };
  const compared = written.filter((i) => edits[i]!.references.length > 0);
  if (compared.length === 0) return found;
  const similarity = textSimilarity(compared.flatMap((i) => [...edits[i]!.references]));
  const consistency = (texts: readonly (readonly string[])[]): number =>
    100 * mean(compared.map((i) => similarity.between(texts[i]!.join(" "), edits[i]!.references.join(" "))));
  return {
    ...found,
    consistency: {
      value: consistency(after),
      base: consistency(before),
      unit: "points",
      higherIsBetter: true,
      note: "TF-IDF similarity of these texts to true ones about others with the new value (reference_score of ROME's results)",
    },
  };
}
