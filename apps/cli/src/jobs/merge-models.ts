import { copyFileSync, existsSync, writeFileSync } from "node:fs";
import { basename, join } from "node:path";
import { type Delta, type HostTensor, LfmError, type Model, parseConfig, runMethod } from "@lfm/core";
import { copyTokenizer, saveDelta } from "@lfm/formats";
import { modelFromConfig, saveModel } from "@lfm/models";
import { loadZoo } from "@lfm/models/zoo";
import { reuseMethods } from "@lfm/reuse";
import { inputsOf, readsData } from "../inputs/merge-inputs.js";
import { type OpenedModel, openPlain, readFrom, splitDeltas } from "../inputs/models.js";
import { saveZooTokenizer } from "../inputs/zoo-folder.js";
import { modelMerges } from "../merge-kinds.js";
import { fileCheckpoint } from "../outputs/file-checkpoint.js";
import { openResult } from "../outputs/result-folder.js";
import type { JobContext, JobRequest, JobResult } from "../program/job.js";
import { methodContext } from "../program/job-context.js";

export interface MergeModelsRequest extends JobRequest {
  readonly method: string;
  readonly base?: string;
  readonly model?: readonly string[];
  readonly data?: readonly string[];
  readonly batchSize?: number;
  readonly maxLength?: number;
  readonly dtype?: "f32" | "bf16" | "f16";
  readonly overwrite?: boolean;
  readonly out: string;
}

/** What the methods give: a model, its parameters, or a delta on the base. */
interface Output {
  readonly model?: Model;
  readonly params?: Readonly<Record<string, HostTensor>>;
  readonly config?: Readonly<Record<string, unknown>>;
  readonly delta?: Delta;
  readonly chosen?: readonly string[];
  readonly alone?: Readonly<Record<string, number>>;
  readonly score?: number;
  readonly coefficients?: Readonly<Record<string, readonly number[]>>;
  readonly curves?: Readonly<Record<string, readonly (readonly [number, number])[]>>;
}

/** `lfm merge METHOD` for methods that run models or see all of their weights at once: models in memory, a folder out. */
export async function mergeModels(request: MergeModelsRequest, job: JobContext): Promise<JobResult> {
  const method = reuseMethods.find((m) => m.id === request.method)!;
  const config = parseConfig(method, request.config, request.preset) as Readonly<Record<string, unknown>>;
  checkRequest(request, config);
  const read = [request.base ?? [], request.model!, request.data ?? []].flat();
  const output = openResult(request.out, { overwrite: request.overwrite === true, inputs: readFrom(read) });
  const checkpoint = fileCheckpoint(output.partial);
  const context = { ...(await methodContext(request, job)), checkpoint };
  const base = request.base === undefined ? undefined : await openPlain(request.base, job);
  const models: Record<string, OpenedModel> = {};
  for (const name of request.model!) models[unusedName(name, models)] = await openPlain(name, job);
  const inputs = await inputsOf(request, config, { base, models }, context);
  const started = performance.now();
  const found = (await runMethod(method, inputs as never, config as never, context)) as Output;
  const seconds = (performance.now() - started) / 1000;
  const donor = base ?? Object.values(models)[0]!;
  const { coefficients, curves, chosen, alone, score } = found;
  const value = {
    method: `reuse/${method.id}`,
    ...(request.base === undefined ? {} : { base: request.base }),
    models: request.model,
    data: request.data ?? [],
    config,
    ...(chosen ? { chosen, alone, score } : {}),
    ...(coefficients ? { coefficients } : {}),
    seconds,
    out: request.out,
  };
  let place = "";
  await output.finish(async (folder) => {
    place = await save(found, donor, folder, request);
    writeFileSync(join(folder, "report.json"), `${JSON.stringify({ ...value, ...(curves ? { curves } : {}) }, null, 2)}\n`);
  });
  const lines = [
    `${method.id}: ${request.model!.length} models in ${seconds.toFixed(1)} s, ${place}`,
    ...(chosen ? [`took ${chosen.join(", ")}: score ${score!.toFixed(4)} (alone: ${numbers(alone!)})`] : []),
    ...(coefficients ? [`λ, mean over tensors: ${numbers(means(coefficients, Object.keys(models)))}`] : []),
  ];
  return { value, text: lines.join("\n") };
}

/** Writes the result. @returns how to say where it is */
async function save(found: Output, donor: OpenedModel, folder: string, { out, dtype = "f32", base }: MergeModelsRequest): Promise<string> {
  const { delta, params, config } = found;
  if (delta) {
    await saveDelta(folder, delta);
    return `saved to ${out}; use it with --model ${base} --delta ${out}`;
  }
  const model =
    found.model ?? (config ? modelFromConfig(config, params!) : { ...donor.model, params: { ...donor.model.params, ...params } });
  await saveWhole(model, donor, folder, dtype);
  return `saved to ${out}`;
}

async function saveWhole(model: Model, donor: OpenedModel, folder: string, dtype: "f32" | "bf16" | "f16"): Promise<void> {
  await saveModel(folder, model, { dtype });
  if (donor.folder === undefined) return saveZooTokenizer(folder, await loadZoo());
  copyTokenizer(donor.folder, folder);
  const generation = join(donor.folder, "generation_config.json");
  if (existsSync(generation)) copyFileSync(generation, join(folder, "generation_config.json"));
}

/** Everything that can be told before a model is opened. @throws {LfmError} CONFIG_INVALID, CAPABILITY_MISSING */
function checkRequest(
  { method, base, model: models = [], data = [] }: MergeModelsRequest,
  config: Readonly<Record<string, unknown>>,
): void {
  const kind = modelMerges[method]!;
  const invalid = (message: string, hint: string): LfmError => new LfmError("CONFIG_INVALID", `lfm: ${method}: ${message}`, { hint });
  if (models.length === 0) throw invalid("nothing to merge", `${kind.base ? "--base ./base " : ""}--model ./a --model ./b`);
  if (kind.base && base === undefined) throw invalid("the base is not given: the model that all others were tuned from", "--base ./base");
  if (["smile", "wemoe"].includes(method) && splitDeltas(base!).deltas.length > 0)
    throw new LfmError("CAPABILITY_MISSING", `lfm: ${method} gives a delta on its base, and ${base} is no folder that it could lie on`, {
      hint: `lfm merge passthrough --model ${base} ./base, then --base ./base`,
    });
  if (kind.data === "none") return;
  const files = kind.data === "each" ? models.map((m) => `--data ${fileName(m)}.jsonl`).join(" ") : "--data examples.jsonl";
  if (!readsData(method, config)) {
    if (data.length > 0)
      throw invalid("with these options it reads no data", method === "moe-upcycling" ? "--gate hidden" : "--match activations");
    return;
  }
  if (data.length === 0) throw invalid(`no examples are given: ${kind.use}`, files);
  if (kind.data === "each" && data.length !== models.length)
    throw invalid(`${data.length} files of examples for ${models.length} models; one for each, in their order`, files);
}

const fileName = (model: string): string => basename(model).replaceAll(/[^\w.-]/g, "-");

/** A model may be given twice. */
function unusedName(name: string, taken: Readonly<Record<string, unknown>>): string {
  let own = name;
  for (let n = 2; own in taken; n++) own = `${name}-${n}`;
  return own;
}

const numbers = (values: Readonly<Record<string, number>>): string =>
  Object.entries(values)
    .map(([name, v]) => `${name} ${v.toFixed(4)}`)
    .join(", ");

/** Mean coefficient of each model. */
function means(coefficients: Readonly<Record<string, readonly number[]>>, names: readonly string[]): Record<string, number> {
  const rows = Object.values(coefficients);
  return Object.fromEntries(names.map((name, i) => [name, rows.reduce((s, row) => s + row[i]!, 0) / rows.length]));
}
