import { type Command, Option } from "commander";
import { act, type Invocation, withCommonOptions } from "../program/invocation.js";
import type { VerbName, VerbOptions } from "../program/job.js";
import { collect, readCount, readList, readSeed } from "./flag-values.js";

interface Verb {
  readonly name: VerbName;
  readonly paradigm: "tuning" | "distillation" | "reuse" | "meta" | "editing";
  readonly description: string;
  /** Adds what the verb works on; the method's own options come from its schema. */
  readonly inputs: (command: Command) => Command;
  /** Options that must be given. Checked after unknown ones, so that a typo is told as a typo. */
  readonly required: readonly string[];
}

const modelHelp = "zoo-lm, a Hugging Face folder, or org/name on the hub";
const dataHelp = "examples: .jsonl, .csv or .tsv with text + label, prompt + completion, or text";

const verbs: readonly Verb[] = [
  {
    name: "tune",
    required: ["model", "data"],
    paradigm: "tuning",
    description: "adapt a model to data: full fine-tuning, LoRA, adapters, prompts",
    inputs: (c) =>
      c
        .option("--model <model>", modelHelp)
        .option("--data <file>", dataHelp)
        .option("--valid <file>", "held-out examples: their loss and accuracy are reported")
        .option("--batch-size <n>", "examples per step", readCount, 16)
        .option("--max-length <n>", "tokens per example, longer ones are cut", readCount, 128)
        .option("--also-train <a,b,…>", "parameters that learn in full beside the method's own", readList),
  },
  {
    name: "distill",
    required: ["teacher", "student"],
    paradigm: "distillation",
    description: "teach a small model what a large one knows, with or without data",
    inputs: (c) =>
      c
        .option("--teacher <model>", "folder of a model (convnet, mlp, bert …)")
        .option("--student <model>", "folder of a model with config.json; without weights it starts fresh")
        .option("--data <file>", `${dataHelp}; data-free methods take none`)
        .option("--batch-size <n>", "examples per step", readCount, 32)
        .option("--max-length <n>", "tokens per example", readCount, 128),
  },
  {
    name: "meta",
    required: [],
    paradigm: "meta",
    description: "learn to learn from few examples on a family of tasks",
    inputs: (c) =>
      c
        .addOption(new Option("--family <name>", "family of tasks").choices(["sinusoid", "glyphs", "omniglot"]).default("sinusoid"))
        .option("--ways <n>", "classes per episode", readCount, 5)
        .option("--shots <n>", "examples per class (or points)", readCount)
        .option("--tasks <n>", "episodes per step", readCount, 4),
  },
  {
    name: "edit",
    required: ["model", "prompt", "subject", "target"],
    paradigm: "editing",
    description: "change one fact that a language model holds",
    inputs: (c) =>
      c
        .option("--model <model>", modelHelp)
        .option("--prompt <text>", 'the fact up to its answer, {} where the subject stands: "the home of {} is"')
        .option("--subject <text>", "who or what it is about")
        .option("--target <text>", "the new answer")
        .option("--delta <dir>", "deltas that lie below the edit, in their order", collect)
        .option("--corpus <file>", "texts to take key statistics from, a line each, or .jsonl, .csv, .tsv (rome); zoo-lm brings its own")
        .option("--statistics <file>", "key statistics that `lfm stats gram` took of the model, instead of texts (rome)"),
  },
];

/** `lfm tune|distill|meta|edit METHOD …`. A verb's methods are loaded only when it is called. */
export async function registerWork(program: Command, invocation: Invocation): Promise<void> {
  for (const verb of verbs) await registerVerb(program, invocation, verb);
}

async function registerVerb(program: Command, invocation: Invocation, verb: Verb): Promise<void> {
  const command = program.command(verb.name).description(verb.description).usage("METHOD [options]");
  if (invocation.argv[0] !== verb.name && !(invocation.argv[0] === "help" && invocation.argv[1] === verb.name)) return;
  const { loadMethods } = await import("../paradigms.js");
  for (const method of await loadMethods[verb.paradigm]()) await addMethod(command, invocation, verb, method);
}

async function addMethod(
  parent: Command,
  invocation: Invocation,
  verb: Verb,
  method: Awaited<ReturnType<typeof import("../paradigms.js").loadRegistry>>["methods"][number],
): Promise<void> {
  const { addSchemaFlags, givenOptions } = await import("./schema-flags.js");
  const command = verb.inputs(
    withRunOptions(withCommonOptions(parent.command(method.id).description(method.summary)), verb.name, method.id),
  );
  const presets = Object.keys(method.presets ?? {});
  if (presets.length > 0) command.addOption(new Option("--preset <name>", "named settings; flags override them").choices(presets));
  addSchemaFlags(command, method.config).action((options: VerbOptions) =>
    act(invocation, options, async (console) => {
      await requireOptions(options, verb.required);
      const config = givenOptions(command, method.config);
      return (await import("../program/run-verb.js")).runVerb(verb.name, { ...options, method: method.id, config }, console, invocation);
    }),
  );
}

/** @throws {LfmError} CONFIG_INVALID naming the options that are not given */
export async function requireOptions(options: VerbOptions, required: readonly string[]): Promise<void> {
  const missing = required.filter((name) => options[name] === undefined);
  if (missing.length === 0) return;
  const { LfmError } = await import("@lfm/core");
  const flags = missing.map((name) => `--${name}`).join(" and ");
  throw new LfmError("CONFIG_INVALID", `${flags} ${missing.length > 1 ? "are" : "is"} not given`, {
    hint: "--help shows what each stands for",
  });
}

/** Options of everything that computes. */
export function withComputeOptions(command: Command): Command {
  return command
    .option("--seed <n>", "seed of everything random", readSeed, 0)
    .option("--engine <name>", "auto, ort, tfjs or reference", "auto")
    .option("--threads <n>", "threads inside one operation", readCount);
}

/** Options of everything that computes and leaves a result in a folder. */
export function withRunOptions(command: Command, verb: string, method: string): Command {
  return withComputeOptions(command).option("--out <dir>", `where the result goes (default lfm-out/${verb}-${method})`);
}
