import { type Command, Option } from "commander";
import { adapterMerges, modelMerges } from "../merge-kinds.js";
import { act, type Invocation, withCommonOptions } from "../program/invocation.js";
import type { VerbName, VerbOptions } from "../program/job.js";
import { collect, readCount } from "./flag-values.js";
import { withStreamOptions } from "./stream-options.js";
import { withRunOptions } from "./work.js";

const modelHelp = "a folder, org/name on the hub, zoo-lm; with +DELTA behind it what lfm tune wrote is put into its weights";
const dataHelp = ".jsonl, .csv or .tsv with text + label, prompt + completion, or text";

/** `lfm merge cfg.yml out/` and `lfm merge METHOD --model A --model B`. A method's own options come from its schema. */
export async function registerMerge(program: Command, invocation: Invocation): Promise<void> {
  const [verb, id = ""] = invocation.argv;
  const named = verb === "merge" && /^[a-z]/.test(id) && !/\.ya?ml$/i.test(id);
  const method = named ? (await (await import("../paradigms.js")).loadMethods.reuse()).find((m) => m.id === id) : undefined;
  const command = withRunOptions(withCommonOptions(program.command("merge")), "merge", "METHOD")
    .argument("<config>", "a mergekit YAML file, or a merge method of `lfm methods ls --paradigm reuse`")
    .argument("[out]", "folder of the result")
    .description(method?.summary ?? "merge models: `lfm merge cfg.yml out/` with a mergekit file, or a method by name with --model");
  const job: VerbName = id in modelMerges ? "merge-models" : adapterMerges.includes(id) ? "merge-adapters" : "merge";
  if (!method || job === "merge") streamed(command);
  else if (job === "merge-models") ofModels(command, id);
  else ofAdapters(command, id);
  const { addSchemaFlags, givenOptions } = method ? await import("./schema-flags.js") : {};
  if (method) {
    const presets = Object.keys(method.presets ?? {});
    if (presets.length > 0) command.addOption(new Option("--preset <name>", "named settings; flags override them").choices(presets));
    addSchemaFlags!(command, method.config);
  }
  command.action((config: string, out: string | undefined, options: VerbOptions) =>
    act(invocation, options, async (console) => {
      const own = method ? { config: givenOptions!(command, method.config) } : {};
      const what = job === "merge" ? { mergeConfig: config } : { method: id };
      const place = out ?? options.out ?? (job === "merge" ? undefined : `lfm-out/merge-${id}`);
      const request = { ...options, ...own, ...what, ...(place === undefined ? {} : { out: place }) };
      return (await import("../program/run-verb.js")).runVerb(job, request, console, invocation);
    }),
  );
}

function streamed(command: Command): void {
  withStreamOptions(command)
    .option("--base <model>", "the model all others were tuned from")
    .option("--model <model>", "a model to merge: a folder, org/name on the hub, zoo-lm; give it several times", collect)
    .option("--statistics <file>", "fisher, regmean: what lfm stats wrote, a file for each --model, in their order", collect)
    .option("--verify", "read all weights to see that statistics were taken with them (small models are always looked at)")
    .option("--unsafe-truncate-embeddings", "cut embeddings to the rows that all models have; token ids must mean the same in all")
    .addOption(new Option("--mode <mode>", "TIES and DARE as in mergekit or as in their papers").choices(["mergekit", "paper"]));
}

function ofModels(command: Command, id: string): void {
  const { base, data, use } = modelMerges[id]!;
  if (base) command.option("--base <model>", `the model all others were tuned from: ${modelHelp}`);
  command.option("--model <model>", `a model to merge, give it several times: ${modelHelp}`, collect);
  if (data !== "none") {
    const many =
      data === "each" ? "examples of a model's task, one file for each --model, in their order" : "examples; give it several times";
    command
      .option("--data <file>", `${many}: ${use!}. ${dataHelp}`, collect)
      .option("--batch-size <n>", "examples at a time", readCount, 16)
      .option("--max-length <n>", "tokens per example, longer ones are cut", readCount, 128);
  }
  if (!["smile", "wemoe"].includes(id))
    command.addOption(new Option("--dtype <dtype>", "dtype of the result [f32]").choices(["f32", "bf16", "f16"]));
  command.option("--overwrite", "replace the folder of the result");
}

function ofAdapters(command: Command, id: string): void {
  if (id === "extract-lora")
    command
      .option("--base <model>", `the model that was tuned: ${modelHelp}`)
      .option("--model <model>", `what was tuned from it: ${modelHelp}`, collect);
  else command.option("--adapter <dir>", "a LoRA that lfm tune or PEFT wrote; give it several times", collect);
  if (id === "lora-hub")
    command
      .option("--base <model>", "the model that the adapters lie on: a folder, org/name on the hub, zoo-lm")
      .option("--data <file>", `the few examples of the new task. ${dataHelp}`)
      .option("--batch-size <n>", "examples at a time", readCount, 16)
      .option("--max-length <n>", "tokens per example, longer ones are cut", readCount, 128);
  command.option("--overwrite", "replace the folder of the result");
}
