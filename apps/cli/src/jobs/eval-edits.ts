import {
  type EditEvaluation,
  editOutcome,
  evaluateEdits,
  knownMetrics,
  knownOf,
  openPerplexity,
  perplexityMetric,
  type RecordEdit,
  type RecordEdits,
  readUntouched,
  recordEdits,
  watchPeakMemory,
  writeMeasuredCell,
} from "@lfm/bench";
import { type AnyMethod, inputsOf, LfmError, type Metric, type Model, parseConfig, Rng, withDeltas } from "@lfm/core";
import { readEdits, readTextFile } from "@lfm/data";
import { editRequestsInput, mainProtocol, prepareEditor, probeKindIds, probeKinds } from "@lfm/editing";
import { requireText } from "../inputs/models.js";
import { openInputs } from "../inputs/openers.js";
import { Sources } from "../inputs/sources.js";
import { withResult } from "../outputs/result-folder.js";
import { loadMethod } from "../paradigms.js";
import type { JobContext, JobRequest, JobResult } from "../program/job.js";
import { methodContext } from "../program/job-context.js";
import { formatTable } from "../render/table.js";

export interface EvalEditsRequest extends JobRequest {
  /** `editing/ID`. */
  readonly method: string;
  readonly out: string;
  readonly overwrite?: boolean;
  readonly requests?: string;
  readonly limit?: number;
  readonly onlyKnown?: boolean;
  readonly text?: string;
  readonly textTokens: number;
  readonly writeTokens: number;
}

/** Edits after which perplexity is taken. */
const WATCHED = 5;

/**
 * `lfm eval-edits METHOD`: makes each edit of a file on the untouched model and asks what the file asks; the report is that of `lfm bench`.
 * @throws {LfmError} CONFIG_INVALID where there is no file, or nothing of it can be written; FILE_IO, FILE_FORMAT, and what the method throws
 */
export async function evalEdits(request: EvalEditsRequest, job: JobContext): Promise<JobResult> {
  const { requests: file, out } = request;
  if (file === undefined)
    throw new LfmError("CONFIG_INVALID", "lfm: eval-edits asks about the edits of a file", { hint: "--requests edits.jsonl" });
  const method = await loadMethod(request.method);
  const config: Readonly<Record<string, unknown>> = parseConfig(method, request.config, request.preset);
  const s = new Sources(request, config, await methodContext(request, job), job, inputsOf(method));
  return withResult(out, { overwrite: request.overwrite === true, inputs: s.files }, (output) =>
    measured(method, file, s, request).then(async (found) => {
      const report = await output.finish((folder) => writeMeasuredCell(folder, "eval-edits", found.cell));
      return {
        value: { ...found.value, out },
        text: [...found.lines, `saved to ${out}; report: ${out}/${report.html.split("/").at(-1)}`].join("\n"),
      };
    }),
  );
}

interface Measured {
  readonly cell: Parameters<typeof writeMeasuredCell>[2];
  readonly value: Readonly<Record<string, unknown>>;
  readonly lines: readonly string[];
}

async function measured(method: AnyMethod, file: string, s: Sources, request: EvalEditsRequest): Promise<Measured> {
  const [started, began, memory] = [new Date(), performance.now(), watchPeakMemory()];
  const [m, previous = []] = [await s.reader(), await s.previous()];
  const rules = requireText(m);
  const base = { model: withDeltas(m.model, previous), rules };
  const { seed = 0, writeTokens: tokens } = request;
  const run = { ...s.context, seed };
  const read = recordEdits(readEdits(file), rules);
  const chosen = await choose(read, base, run, request);
  const perplexity =
    request.text === undefined
      ? undefined
      : await openPerplexity(base, readTextFile(request.text, "--text is a text"), request.textTokens, run);
  // Requests are given one by one.
  const given = await openInputs({ ...method, inputs: withoutRequests(method) }, s);
  const editor = await prepareEditor(method, { ...given, model: m.model }, s.config, { ...s.context, progress: () => {} });
  try {
    const before = await readUntouched(base, chosen.edits, tokens, run);
    const untouched = await perplexity?.of(base.model, s.context.signal);
    const after: number[] = [];
    const watch = async (model: Model, i: number): Promise<void> => {
      if (perplexity && i < WATCHED) after.push(await perplexity.of(model, s.context.signal));
    };
    const onPrevious = { ...editor, edit: (requests: Parameters<typeof editor.edit>[0]) => editor.edit(requests, previous) };
    const evaluation = await evaluateEdits(base, chosen.edits, onPrevious, { before, tokens, watch }, run);
    const text = `per token of the first ${request.textTokens} of ${request.text}`;
    const metrics: Readonly<Record<string, Metric>> = {
      ...evaluation.metrics,
      ...chosen.metrics,
      ...(untouched === undefined ? {} : { perplexity: perplexityMetric(after, untouched, text) }),
    };
    const { outputs } = evaluation;
    const summary = `Single edits of ${file} on ${m.name}, each on the untouched model; what the file does not ask is not run.`;
    return {
      cell: {
        method,
        config: s.config,
        task: { id: "own-edits", paradigm: "editing", model: m.name, summary, headline: "score", access: method.needs },
        seed,
        outcome: { ...editOutcome(evaluation), metrics, modelHash: await m.hash() },
        wallMs: performance.now() - began,
        peakRssBytes: memory.stop(),
        engine: s.context.engine.description,
        started,
      },
      value: { method: request.method, model: m.name, requests: file, edits: chosen.edits.length, refused: read.refused, metrics, outputs },
      lines: linesOf(metrics, outputs, chosen, read),
    };
  } finally {
    await editor.dispose();
    await perplexity?.dispose();
  }
}

/** The inputs of a method but the facts themselves. */
function withoutRequests({ inputs }: AnyMethod): AnyMethod["inputs"] {
  const kinds = new Set(
    inputsOf({ inputs })
      .filter((i) => i.kind === editRequestsInput.name)
      .map((i) => i.field),
  );
  return Object.fromEntries(Object.entries(inputs).filter(([field]) => !kinds.has(field)));
}

interface ChosenEdits {
  readonly edits: readonly RecordEdit[];
  readonly metrics: Readonly<Record<string, Metric>>;
}

/** @throws {LfmError} CONFIG_INVALID where nothing is left */
async function choose(
  { edits, refused }: RecordEdits,
  base: Parameters<typeof knownOf>[0],
  run: Parameters<typeof knownOf>[3] & { readonly seed: number },
  { requests, limit = Number.POSITIVE_INFINITY, onlyKnown }: EvalEditsRequest,
): Promise<ChosenEdits> {
  const drawn = edits.length > limit ? new Rng(run.seed).split("own edits").shuffle(edits) : edits;
  const asked = onlyKnown ? drawn : drawn.slice(0, limit);
  const found = await knownOf(base, asked, edits, run);
  const known = new Set(found.flatMap(({ edit, fact }) => (fact.known ? [edit] : [])));
  const chosen = onlyKnown ? asked.filter((edit) => known.has(edit)).slice(0, limit) : asked;
  if (chosen.length > 0) return { edits: chosen, metrics: knownMetrics(found) };
  throw new LfmError("CONFIG_INVALID", `lfm: none of the ${edits.length + refused.length} facts of ${requests} can be edited`, {
    hint: edits.length === 0 ? (refused[0] ?? "") : "leave --only-known out: the model knows none of them",
  });
}

function linesOf(
  metrics: Readonly<Record<string, Metric>>,
  outputs: EditEvaluation["outputs"],
  { edits }: ChosenEdits,
  { refused }: RecordEdits,
): readonly string[] {
  const asked = probeKindIds.filter((kind) => `${kind}.exact` in metrics);
  const shown = (name: string): string => {
    const metric = metrics[name];
    if (!metric || metric.value === null) return "–";
    return metric.base === undefined ? metric.value.toFixed(1) : `${metric.base.toFixed(1)} → ${metric.value.toFixed(1)}`;
  };
  const other = [
    "score",
    "efficacy",
    "generalisation",
    "portability",
    "locality",
    "fluency",
    "perplexity",
    "namedFirst",
    "knownFacts",
    "editMs",
  ];
  return [
    `${edits.length} edits${refused.length > 0 ? `; ${refused.length} facts cannot be written, the first: ${refused[0]}` : ""}`,
    formatTable(asked, [
      { title: "question", value: (kind) => kind },
      { title: "of", value: (kind) => probeKinds[kind].about },
      ...(["success", "token-accuracy", "exact", "generated", "unchanged"] as const).map((id) => ({
        title: id,
        value: (kind: (typeof asked)[number]) => `${shown(`${kind}.${id}`)}${id === mainProtocol(kind) ? " *" : ""}`,
        align: "right" as const,
      })),
    ]),
    "before → after, points of 100; * is what the axes are made of",
    ...other.filter((name) => name in metrics).map((name) => `${name}: ${shown(name)}`),
    ...outputs.map((o) => `wrong: after "${o.after}", "${o.prompt}" … ${o.said} (right: ${o.right})`),
  ];
}
