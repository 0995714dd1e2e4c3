import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { LfmError, runMethod } from "@lfm/core";
import { readExamples } from "@lfm/data";
import { readPeftAdapter, saveDelta, writePeftAdapter } from "@lfm/formats";
import { extractLora, loraHub, mergeLora } from "@lfm/reuse";
import { toPeft } from "@lfm/tuning";
import { loadDeltas, openModel, openPlain, readFrom, requireTokenizer, splitDeltas } from "../inputs/models.js";
import { classificationTask, labelledRows, labelNames, languageRows, languageTask, taskKind } from "../inputs/tasks.js";
import { openResult } from "../outputs/result-folder.js";
import type { JobContext, JobRequest, JobResult } from "../program/job.js";
import { methodContext } from "../program/job-context.js";

interface MergeAdaptersRequest extends JobRequest {
  readonly method: "extract-lora" | "merge-lora" | "lora-hub";
  readonly base?: string;
  readonly model?: readonly string[];
  readonly adapter?: readonly string[];
  readonly data?: string;
  readonly batchSize?: number;
  readonly maxLength?: number;
  readonly overwrite?: boolean;
  readonly out: string;
}

/** What is written, and said of it. */
interface Made {
  readonly save: (folder: string) => Promise<void>;
  readonly value: Readonly<Record<string, unknown>>;
  readonly text: string;
  /** Goes into report.json only. */
  readonly curves?: unknown;
}

/** `lfm merge extract-lora|merge-lora|lora-hub`: an adapter out of weights, or out of adapters, in PEFT's form. */
export async function mergeAdapters(request: MergeAdaptersRequest, job: JobContext): Promise<JobResult> {
  const make = { "extract-lora": extract, "merge-lora": combine, "lora-hub": compose }[request.method];
  const run = make(request, job);
  const read = [request.base ?? [], request.model ?? [], request.adapter ?? []].flat();
  const output = openResult(request.out, { overwrite: request.overwrite === true, inputs: readFrom(read) });
  const started = performance.now();
  const { save, value: found, text, curves } = await run();
  const seconds = (performance.now() - started) / 1000;
  const value = { method: `reuse/${request.method}`, ...found, seconds, out: request.out };
  await output.finish(async (folder) => {
    await save(folder);
    writeFileSync(join(folder, "report.json"), `${JSON.stringify({ ...value, ...(curves ? { curves } : {}) }, null, 2)}\n`);
  });
  const use = `use it with --delta ${request.out}, or in Python with PeftModel.from_pretrained`;
  return { value, text: `${request.method}: ${text} in ${seconds.toFixed(1)} s\nsaved to ${request.out}; ${use}` };
}

/** Each of these checks what it was given and hands back the work. */
function extract(request: MergeAdaptersRequest, job: JobContext): () => Promise<Made> {
  const { base, model: models = [] } = request;
  if (base === undefined || models.length !== 1)
    throw new LfmError("CONFIG_INVALID", "lfm: extract-lora takes a base and one model that was tuned from it", {
      hint: "lfm merge extract-lora --base ./base --model ./a --rank 16 out",
    });
  return async () => {
    const [from, tuned] = [await openPlain(base, job), await openPlain(models[0]!, job)];
    const inputs = { base: from.model, tuned: tuned.model.params, baseName: base };
    const { adapter, layers, omitted } = await runMethod(
      extractLora,
      inputs,
      { ...request.config },
      await methodContext(request, job),
      request.preset,
    );
    const held = layers.reduce((least, l) => Math.min(least, l.energy), 1);
    const left = omitted.length > 0 ? `; ${omitted.length} parameters changed and are not in it: ${omitted.join(", ")}` : "";
    return {
      save: (folder) => writePeftAdapter(folder, adapter),
      value: { base, model: models[0]!, rank: adapter.config.r, layers, omitted },
      text: `${layers.length} layers, ranks up to ${adapter.config.r}, at least ${(100 * held).toFixed(1)} % of each layer's ‖ΔW‖²${left}`,
    };
  };
}

function combine(request: MergeAdaptersRequest, job: JobContext): () => Promise<Made> {
  const folders = adaptersOf(request, "lfm merge merge-lora --adapter ./a --adapter ./b --combination cat out");
  return async () => {
    const adapters = Object.fromEntries(folders.map((folder, i) => [`${i + 1}: ${folder}`, readPeftAdapter(folder)]));
    const { adapter } = await runMethod(mergeLora, { adapters }, { ...request.config }, await methodContext(request, job), request.preset);
    return {
      save: (folder) => writePeftAdapter(folder, adapter),
      value: { adapters: folders, rank: adapter.config.r },
      text: `${folders.length} adapters, rank ${adapter.config.r}`,
    };
  };
}

function compose(request: MergeAdaptersRequest, job: JobContext): () => Promise<Made> {
  const folders = adaptersOf(request, "lfm merge lora-hub --base ./base --adapter ./a --adapter ./b --data few.jsonl out");
  const { base, data } = request;
  if (base === undefined || data === undefined)
    throw new LfmError(
      "CONFIG_INVALID",
      `lfm: lora-hub: ${base === undefined ? "the base" : "the few examples"} of the new task are not given`,
      {
        hint: base === undefined ? "--base ./base" : "--data few.jsonl",
      },
    );
  if (splitDeltas(base).deltas.length > 0)
    throw new LfmError("CAPABILITY_MISSING", `lfm: lora-hub: the adapters lie on a model, and ${base} is more than one`, {
      hint: `lfm merge passthrough --model ${base} ./base, then --base ./base`,
    });
  return async () => {
    const opened = await openModel(base, job);
    const deltas = await loadDeltas(folders, opened);
    const tokenizer = requireTokenizer(opened);
    const examples = readExamples(data);
    const options = { batchSize: request.batchSize ?? 16, maxLength: request.maxLength ?? 128, seed: request.seed ?? 0 };
    const task =
      taskKind(opened.model) === "language"
        ? languageTask(languageRows(examples, tokenizer, options.maxLength), tokenizer.specials.pad ?? 0, options)
        : classificationTask(labelledRows(examples, labelNames(examples)), tokenizer, options);
    const modules = Object.fromEntries(
      folders.map((folder, i) => [folders.indexOf(folder) === i ? folder : `${folder}-${i + 1}`, deltas[i]!]),
    );
    const context = await methodContext(request, job);
    const { delta, weights, curves } = await runMethod(
      loraHub,
      { model: opened.model, modules, task },
      { ...request.config },
      context,
      request.preset,
    );
    return {
      save: async (folder) => {
        await saveDelta(folder, delta);
        await toPeft(folder, delta, opened.model, { base });
      },
      value: { base, adapters: folders, data, weights },
      text: `${Object.entries(weights)
        .map(([name, w]) => `${w.toFixed(3)}·${name}`)
        .join(" + ")}, loss ${curves.loss?.at(-1)?.[1].toFixed(4)}`,
      curves,
    };
  };
}

function adaptersOf({ method, adapter = [] }: MergeAdaptersRequest, hint: string): readonly string[] {
  if (adapter.length > 0) return adapter;
  throw new LfmError("CONFIG_INVALID", `lfm: ${method}: no adapters are given`, { hint });
}
