import { statSync } from "node:fs";
import { type Checkpoint, dimSub, isLfmError, LfmError, type Progress, reshape, slice, type Tensor } from "@lfm/core";
import { type Examples, readExamples } from "@lfm/data";
import { collectFisher, collectGrams, type FisherEstimator, loadStats, saveStats, type TaskProbe } from "@lfm/statistics";
import { languageModeling } from "@lfm/train";
import {
  answeredTask,
  type BatchOptions,
  labelledRows,
  languageBatch,
  languageRows,
  predictedRows,
  samplerOf,
  type TokenRow,
  targetSites,
  taskKind,
} from "@lfm/tuning";
import { engineOf } from "../inputs/engine.js";
import { classNames } from "../inputs/labels.js";
import { type OpenedModel, openPlain, requireText, sayLimit, splitDeltas } from "../inputs/models.js";
import { answerProbe, corpusOf, drawn } from "../inputs/probes.js";
import { fileCheckpoint, requireSameRun } from "../outputs/file-checkpoint.js";
import { type SaveFile, withResultFile } from "../outputs/result-folder.js";
import { type RunIdentity, runIdentity } from "../outputs/run-identity.js";
import type { JobContext, JobRequest, JobResult } from "../program/job.js";
import { formatSeconds } from "../render/progress.js";
import { formatBytes } from "../render/table.js";

interface StatsRequest extends JobRequest {
  readonly kind: "fisher" | "gram";
  readonly model: string;
  readonly delta?: readonly string[];
  readonly data: string;
  readonly samples: number;
  readonly estimator?: FisherEstimator;
  readonly sites?: readonly string[];
  readonly tolerance?: number;
  readonly batchSize: number;
  readonly maxLength: number;
  readonly out: string;
  readonly overwrite?: boolean;
  readonly fresh?: boolean;
}

/** `lfm stats fisher|gram MODEL`: runs a model over examples and saves what merges and edits need of them. */
export async function stats(request: StatsRequest, job: JobContext): Promise<JobResult> {
  const { kind, out, overwrite = false } = request;
  if (kind === "gram" && request.estimator)
    throw new LfmError("CONFIG_INVALID", "lfm: --estimator is about squared gradients; Gram matrices are measured in one way", {
      hint: "leave --estimator out",
    });
  if (kind === "fisher" && request.sites)
    throw new LfmError("CONFIG_INVALID", "lfm: --sites is about Gram matrices; squared gradients are taken of all parameters", {
      hint: "leave --sites out",
    });
  if (kind === "fisher" && request.tolerance !== undefined)
    throw new LfmError("CONFIG_INVALID", "lfm: --tolerance is about Gram matrices; squared gradients are taken of all --samples", {
      hint: "leave --tolerance out",
    });
  const { base, deltas } = splitDeltas(request.model);
  const inputs = [base, ...deltas, ...(request.delta ?? []), request.data];
  return withResultFile(out, { overwrite, inputs, isResult: isStats, goesOn: true }, async (save, partial) => {
    const identity = identityOf(request);
    await requireSameRun(partial, identity, request.fresh === true);
    return measure(request, job, save, fileCheckpoint(partial, identity));
  });
}

/** What is measured, of what, and how; asked once. */
function identityOf(request: StatsRequest): () => Promise<RunIdentity> {
  const { kind, model, delta = [], data, samples, estimator, sites = [], tolerance, batchSize, maxLength } = request;
  const asked = { model, delta, data, samples, estimator: estimator ?? "", sites, tolerance: tolerance ?? "", batchSize, maxLength };
  let found: Promise<RunIdentity> | undefined;
  return () => {
    found ??= runIdentity(`stats ${kind}`, { config: {}, request, asked: () => asked });
    return found;
  };
}

async function measure(
  request: StatsRequest,
  job: JobContext,
  save: SaveFile,
  checkpoint: (phase: string) => Checkpoint,
): Promise<JobResult> {
  const { kind, out } = request;
  const m = await openPlain([request.model, ...(request.delta ?? [])].join("+"), job);
  const options: BatchOptions = { batchSize: request.batchSize, maxLength: request.maxLength, seed: request.seed ?? 0 };
  sayLimit(m, options.maxLength, job);
  const examples = drawn(readExamples(request.data), request.samples, options.seed);
  const samples = examples.rows.length;
  if (samples < request.samples) job.log(`${request.data} holds ${samples} examples, not ${request.samples}: all of them are looked at`);
  const estimator = request.estimator ?? (taskKind(m.model) === "language" ? "empirical" : "expected");
  const started = performance.now();
  const common = {
    samples,
    model: await m.hash(),
    ...(request.threads === undefined ? {} : { threads: request.threads }),
    ...(job.signal ? { signal: job.signal } : {}),
    progress: (p: Progress) => job.progress(p),
  };
  const engine = await engineOf(request);
  const found =
    kind === "gram"
      ? await collectGrams(engine, m.model, corpusOf(m, examples, options), {
          ...common,
          ...(request.sites ? { sites: targetSites(m.model, request.sites) } : {}),
          ...(request.tolerance === undefined ? {} : { tolerance: request.tolerance }),
          checkpoint: checkpoint("gram"),
        })
      : await collectFisher(engine, m.model, gradientProbe(m, examples, options, estimator), { ...common, estimator });
  if (found.samples < samples) job.log(`settled: ${found.samples} of ${samples} examples were enough`);
  await save((file) => saveStats(file, found));
  const seconds = (performance.now() - started) / 1000;
  const bytes = statSync(out).size;
  const tensors = Object.keys(found.tensors).length;
  const how = found.kind === "fisher" ? { estimator: found.estimator } : {};
  const use = (merge: string): string => `lfm merge ${merge} --model ${m.name} --statistics ${out} --model … --statistics …`;
  const uses =
    kind === "fisher" ? use("fisher") : `${use("regmean")}, or edit with them: lfm edit rome --model ${m.name} --statistics ${out} …`;
  return {
    value: { kind, model: m.name, parent: found.model, data: request.data, samples: found.samples, ...how, tensors, bytes, seconds, out },
    text: [
      `${found.kind === "fisher" ? `squared gradients (${found.estimator})` : "Gram matrices"} of ${m.name}: ${tensors} tensors from ${found.samples} examples in ${formatSeconds(seconds)} (${formatBytes(bytes)})`,
      `saved to ${out}; merge with it: ${uses}`,
    ].join("\n"),
  };
}

function isStats(file: string): boolean {
  try {
    loadStats(file);
    return true;
  } catch (error) {
    if (isLfmError(error, "FILE_FORMAT")) return false;
    throw error;
  }
}

/** What squared gradients are taken of. @throws {LfmError} CONFIG_INVALID, CAPABILITY_MISSING */
function gradientProbe(m: OpenedModel, examples: Examples, o: BatchOptions, estimator: FisherEstimator): TaskProbe {
  const rules = requireText(m);
  if (taskKind(m.model) === "classification") {
    if (estimator !== "empirical") return answerProbe("examples", m, examples, o);
    const rows = labelledRows(examples, classNames(m));
    return answeredTask("examples", rows, rules.tokenizer, o, samplerOf(rows.texts.length, o));
  }
  if (estimator === "empirical") return completionProbe(languageRows(examples, rules, o.maxLength), o);
  if (examples.kind === "classification") return answerProbe("examples", m, examples, o);
  throw new LfmError("CONFIG_INVALID", `lfm: ${estimator} squared gradients run over all answers, which for ${m.name} is every text`, {
    hint: "--estimator empirical; or give examples with text + label: then labels are the answers",
  });
}

/** log p of what is to be learned of every example: a row of logits for each token but the first. */
function completionProbe(rows: readonly TokenRow[], { batchSize, maxLength }: BatchOptions): TaskProbe {
  if (!rows.some((r) => r.weights.includes(1)))
    throw new LfmError("CONFIG_INVALID", `lfm: nothing of the examples is left to learn within ${maxLength} tokens`, {
      hint: `--max-length ${2 * maxLength}`,
    });
  const { batch, input } = languageModeling("examples", predictedRows(rows));
  const { scored: _all, ...read } = batch;
  const after = (t: Tensor): Tensor => reshape(slice(t, 1, 1, dimSub(t.dim(1), 1)), [-1]);
  return {
    name: "examples",
    batch: read,
    batches: (step) => ({ ...languageBatch(rows.slice(step * batchSize, (step + 1) * batchSize)) }),
    input,
    scored: ({ logits, prefix }, { tokens, weights }) => {
      const before = slice(logits!, 1, prefix ?? 0, dimSub(tokens!.dim(1), 1));
      return { logits: reshape(before, [-1, before.dim(2)]), targets: after(tokens!), weights: after(weights!) };
    },
  };
}
