import { existsSync, readdirSync, readFileSync, statSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import { inputsOf, LfmError, nearestName, parseConfig } from "@lfm/core";
import { requireFree, takeFinished } from "@lfm/formats";
import {
  checkMerge,
  type DocumentPlan,
  ensemble,
  explainMerge,
  identifyMerge,
  type MergeDocument,
  type MergeMethod,
  mergeMethods,
  mergeResources,
  type PlanMergeOptions,
  parseMergeConfig,
  planMerge,
  type RunMergeOptions,
  reuseMethods,
  runMerge,
} from "@lfm/reuse";
import { stringify } from "yaml";
import { checkGiven } from "../inputs/kinds.js";
import type { JobContext, JobRequest, JobResult } from "../program/job.js";
import { renderCheck, renderExplanation, renderPlan } from "../render/merge.js";
import { formatSeconds } from "../render/progress.js";
import { modelResolver, multiplier } from "./merge-models.js";
import { type MergeScratch, openScratch } from "./merge-scratch.js";

/** What every merge that streams from files to files can be asked. */
export interface StreamRequest extends JobRequest {
  readonly dtype?: "f32" | "bf16" | "f16";
  readonly mode?: "mergekit" | "paper";
  readonly unsafeTruncateEmbeddings?: boolean;
  readonly maxMemory?: number;
  readonly shardSize?: number;
  readonly check?: boolean;
  readonly explain?: boolean;
  readonly dryRun?: boolean;
  readonly resume?: boolean;
  readonly overwrite?: boolean;
  readonly sync?: boolean;
  readonly verify?: boolean;
  readonly out: string;
}

interface MergeRequest extends StreamRequest {
  readonly mergeConfig: string;
  readonly base?: string;
  readonly model?: readonly string[];
  readonly statistics?: readonly string[];
  /** A model, `none` or `merge`. */
  readonly heads?: string;
}

/** Bytes of weights that are hashed in about a tenth of a second. */
const SMALL = 64e6;

const outDtypes = { f32: "float32", bf16: "bfloat16", f16: "float16" } as const;

/** `lfm merge cfg.yml out/` or `lfm merge METHOD --model A --model B`. */
export async function merge(request: MergeRequest, job: JobContext): Promise<JobResult> {
  const isFile = /\.ya?ml$/i.test(request.mergeConfig);
  const inFile = (["base", "model", "statistics", "heads"] as const).find((flag) => request[flag] !== undefined);
  if (isFile && inFile)
    throw new LfmError("CONFIG_INVALID", `lfm: ${request.mergeConfig} says itself what is merged: --${inFile} has no place beside it`, {
      hint: "leave the flag out, or name a method instead of the file: lfm merge ties --base ./base --model ./a --model ./b out",
    });
  const documents = isFile
    ? parseMergeConfig(readConfig(request.mergeConfig), { file: request.mergeConfig })
    : parseMergeConfig(await yamlOfFlags(request), { file: "the command line" });
  return streamMerge(
    documents,
    isFile ? { folder: dirname(request.mergeConfig), file: request.mergeConfig } : { folder: "." },
    request,
    job,
  );
}

/**
 * Merges the documents of one configuration, the last one into `out`, or only says what it would do.
 * @param from the folder of the merge file, where paths of models may begin, and the file itself
 */
export async function streamMerge(
  documents: readonly MergeDocument[],
  from: { readonly folder: string; readonly file?: string },
  request: StreamRequest,
  job: JobContext,
): Promise<JobResult> {
  if (request.verify && !documents.some((d) => mergeMethods.some((m) => m.merging.statistics && m.id === d.method)))
    throw new LfmError("CONFIG_INVALID", "lfm: --verify compares statistics with weights, and this merge reads no statistics", {
      hint: "leave --verify out",
    });
  const planned = request.check || request.explain || request.dryRun;
  const inputs = from.file === undefined ? [] : [from.file];
  const of = JSON.stringify([documents.map((d) => d.text), resolve(from.folder), ...settingsOf(request)]);
  // A merge that was killed when nothing was left to do but to clean up.
  if (!planned && request.resume && takeFinished(request.out, of, () => openScratch(request.out, true).clear({ keep: false })))
    return {
      value: { out: request.out, resumed: true },
      text: `the merge was finished when it was stopped; saved to ${request.out}`,
    };
  // Before any work: stages may take hours.
  if (!planned) requireFree(request.out, { overwrite: request.overwrite ?? false, inputs });
  const scratch = openScratch(planned ? undefined : request.out, request.resume ?? false);
  const stages = new Map<string, string>();
  const options: PlanMergeOptions = {
    folder: from.folder,
    methods: reuseMethods,
    resolve: modelResolver(stages, from.folder, scratch, job),
    multiplyOut: multiplier(scratch, job),
    seed: request.seed ?? 0,
    hashOf: async ({ folder: of }) =>
      request.verify || weightBytes(of) <= SMALL ? (await (await import("@lfm/models")).loadModel(of)).hash() : undefined,
    ...(request.mode ? { mode: request.mode } : {}),
    ...(request.unsafeTruncateEmbeddings ? { unsafeTruncateEmbeddings: true } : {}),
    ...(request.dtype ? { outDtype: outDtypes[request.dtype] } : {}),
  };
  let keep = true;
  try {
    if (request.check) return await check(documents, options);
    const rest = documents.slice(0, -1);
    if ((request.explain || request.dryRun) && rest.length > 0)
      throw new LfmError("CONFIG_INVALID", "lfm: stages that use the results of others can only be planned once those are there", {
        hint: "--check looks at every stage that stands on its own",
      });
    await mergeStages(rest, stages, scratch, options, request, job);
    const last = documents.at(-1)!;
    const plan = await planMerge(last, options);
    if (request.explain) return { value: { tensors: explainMerge(plan) }, text: renderExplanation(explainMerge(plan)) };
    const settle = (): void => {
      keep = false;
      scratch.clear({ keep });
    };
    return await mergeDocument(last, plan, request, { inputs, of, settle }, job);
  } finally {
    // A merge that was stopped or failed is gone on with from here; where nothing of it is left, nothing needs to be.
    scratch.clear({ keep: keep && (stages.size > 0 || existsSync(`${request.out}.partial`)) });
  }
}

/** Merges the documents that others use. One that an earlier run finished is taken as it is, where it would come out the same. */
async function mergeStages(
  documents: readonly MergeDocument[],
  stages: Map<string, string>,
  scratch: MergeScratch,
  options: PlanMergeOptions,
  request: StreamRequest,
  job: JobContext,
): Promise<void> {
  for (const [place, document] of documents.entries()) {
    const plan = await planMerge(document, options);
    const stage = scratch.stage(place, document.name!);
    const identity = identifyMerge(plan, request.shardSize);
    // From here on there is something to go on with.
    stages.set(document.name!, stage.folder);
    if (stage.isMade(identity)) continue;
    await mergeDocument(document, plan, { ...request, out: stage.folder, overwrite: true }, {}, job);
    stage.noteMade(identity);
  }
}

/** What changes the result beside the documents. */
function settingsOf({ dtype, mode, seed, shardSize, unsafeTruncateEmbeddings }: StreamRequest): readonly unknown[] {
  return [dtype, mode, seed, shardSize, unsafeTruncateEmbeddings].map((setting) => setting ?? null);
}

/** @param place files that are read besides those of the plan; what the result is of, and what is done when it has its name */
async function mergeDocument(
  document: MergeDocument,
  plan: DocumentPlan,
  request: StreamRequest,
  place: Pick<RunMergeOptions, "inputs" | "of" | "settle">,
  job: JobContext,
): Promise<JobResult> {
  for (const note of plan.notes) job.log(note);
  const { maxMemory, threads, shardSize, out, resume, overwrite, sync } = request;
  const options = { ...(threads === undefined ? {} : { threads }), ...(maxMemory === undefined ? {} : { maxMemory }) };
  const resources = mergeResources(plan, options);
  const planned = renderPlan(document.method, plan, resources, maxMemory);
  if (request.dryRun) return { value: planned.value, text: planned.text };
  job.log(planned.text);
  const report = await runMerge(plan, {
    ...options,
    ...place,
    out,
    ...(shardSize === undefined ? {} : { maxShardBytes: shardSize }),
    ...(resume ? { resume } : {}),
    ...(overwrite ? { overwrite } : {}),
    ...(sync ? { sync } : {}),
    ...(job.signal ? { signal: job.signal } : {}),
    progress: (p) => job.progress(p),
  });
  const rate = (report.bytesRead + report.bytesWritten) / 1e9 / report.seconds;
  return {
    value: { ...planned.value, ...report, notes: plan.notes, out },
    text: `${document.method}: ${report.parameters.toLocaleString("en")} parameters in ${formatSeconds(report.seconds)} (${rate.toFixed(2)} GB/s), saved to ${out}`,
  };
}

async function check(documents: readonly MergeDocument[], options: PlanMergeOptions): Promise<JobResult> {
  const checks = [];
  for (const document of documents) if (document.needs.length === 0) checks.push(await checkMerge(document, options));
  const problem = checks.flatMap((c) => c.problems)[0];
  const text = checks.map(renderCheck).join("\n\n");
  // Hints stand in the text, each beside its problem.
  if (problem) throw new LfmError(problem.code, `the merge does not fit together\n${text}`, { details: { checks } });
  return { value: { checks }, text };
}

function weightBytes(folder: string): number {
  const files = readdirSync(folder).filter((name) => name.endsWith(".safetensors"));
  return files.reduce((n, name) => n + statSync(join(folder, name)).size, 0);
}

function readConfig(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch (cause) {
    throw new LfmError("FILE_IO", `lfm: cannot read ${path}: ${(cause as NodeJS.ErrnoException).code ?? String(cause)}`, {
      cause,
      hint: "give the path of a mergekit file, or a method and its models: lfm merge ties --base ./base --model ./a --model ./b out",
    });
  }
}

/** The configuration that flags stand for. @throws {LfmError} CONFIG_INVALID */
async function yamlOfFlags(request: MergeRequest): Promise<string> {
  const method = mergeMethods.find((m) => m.id === request.mergeConfig);
  if (!method) throw noMerge(request.mergeConfig);
  const { model: models = [], base, statistics, heads, preset, config: given = {} } = request;
  await checkGiven(method.id, inputsOf(method), {}, request);
  if (statistics && !method.merging.statistics)
    throw new LfmError("CONFIG_INVALID", `lfm: ${method.id} reads no statistics`, {
      hint: "lfm merge fisher reads those of lfm stats fisher, lfm merge regmean those of lfm stats gram",
    });
  if (statistics && statistics.length !== models.length)
    throw new LfmError("CONFIG_INVALID", `lfm: ${statistics.length} --statistics for ${models.length} models`, {
      hint: "a file for each --model, in their order",
    });
  // Everything is written out, defaults too: a file has to give some parameters that flags need not.
  const config = parseConfig(method, given, preset) as Readonly<Record<string, unknown>>;
  const { shared, perModel } = method.merging;
  return stringify({
    merge_method: nameOf(method, preset),
    ...(base === undefined ? {} : { base_model: base }),
    ...(heads === undefined ? {} : { heads }),
    models: models.map((m, i) => ({
      model: m,
      parameters: {
        ...Object.fromEntries(Object.keys(perModel.shape).map((key) => [key, oneOf(config[key], i, models.length, key)])),
        ...(statistics ? { statistics: statistics[i] } : {}),
      },
    })),
    parameters: Object.fromEntries(Object.keys(shared.shape).map((key) => [key, config[key]])),
  });
}

function noMerge(name: string): LfmError {
  if (name === ensemble.id)
    return new LfmError("CONFIG_INVALID", "lfm: an ensemble merges nothing: its members answer together", {
      hint: "lfm eval --member ./a --member ./b --ensemble probabilities --data test.jsonl",
    });
  const names = reuseMethods.filter((m) => m.id !== ensemble.id).map((m) => m.id);
  const near = nearestName(name, names);
  return new LfmError("CONFIG_INVALID", `lfm: "${name}" is neither a .yml file nor a merge method`, {
    hint: near ? `did you mean "${near}"?` : `methods: ${names.join(", ")}`,
  });
}

function oneOf(value: unknown, i: number, models: number, key: string): unknown {
  if (!Array.isArray(value)) return value;
  if (value.length !== models)
    throw new LfmError("CONFIG_INVALID", `lfm: --${key}: ${value.length} values for ${models} models`, {
      hint: `one value for all, or ${models} with commas between them`,
    });
  return value[i];
}

/** The name in a file: the preset's where it has one there. */
function nameOf({ id, merging: { mergekit } }: MergeMethod, preset: string | undefined): string {
  const names = [preset, id].filter((n) => n !== undefined).map((n) => n.replaceAll("-", "_"));
  return names.find((n) => mergekit.includes(n)) ?? mergekit[0] ?? id;
}
