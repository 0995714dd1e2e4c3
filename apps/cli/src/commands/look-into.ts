import { type Command, Option } from "commander";
import { act, type Invocation, withCommonOptions } from "../program/invocation.js";
import type { VerbOptions } from "../program/job.js";
import { requireOptions, withComputeOptions } from "./compute-options.js";
import { collect, readAmount, readCount, readList, readSeeds } from "./flag-values.js";

const modelHelp = "zoo-lm, a Hugging Face folder, or org/name on the hub";
const requestsHelp = "facts instead: CounterFact, zsRE, KnowEdit, EasyEdit, or prompt, subject and target a line";

/** `lfm edit trace|lens|where`: where a language model holds what it knows, and into which layer to write. */
export function registerLookInto(edit: Command, invocation: Invocation): void {
  withNoise(looking(edit, "trace", "where a model holds what it says of a subject: causal tracing, with its heat map"))
    .option("--prompt <text>", 'up to the answer, {} where the subject stands: "the home of {} is"')
    .option("--subject <text>", "who or what it is about")
    .option("--requests <file>", requestsHelp)
    .option("--facts <n>", "of the file, so many from its beginning; effects are means over them", readCount, 50)
    .option("--parts <a,b,…>", "what is put back: state (of a block), mlp, attention [all of them]", readList)
    .option("--window <n>", "blocks whose MLP or attention is put back together [10 of 48, at least 1]", readCount)
    .option("--delta <dir>", "a delta on the model; several in their order", collect)
    .option("--out <file>", "the heat map, e.g. trace.svg")
    .option("--overwrite", "replace the file that is there")
    .action(run("trace", ["model"], invocation));
  looking(edit, "lens", "what every block would name next, if the rest of the model were its last norm and its head: the logit lens")
    .option("--prompt <text>", "the text that is gone on with")
    .option("--top <n>", "tokens that are named", readCount, 3)
    .option("--delta <dir>", "a delta on the model; several in their order", collect)
    .action(run("lens", ["model", "prompt"], invocation));
  withNoise(
    looking(edit, "where", "into which layer to write: by causal tracing, and by development edits written into one after the other"),
  )
    .option("--requests <file>", `${requestsHelp}; zoo-lm brings its own`)
    .option("--edits <n>", "facts that are traced and written, drawn with the seed", readCount, 20)
    .addOption(new Option("--method <name>", "what writes them").choices(["rome", "r-rome", "ft-l"]).default("rome"))
    .option("--layers <a,b,…>", "layers that are tried [all]", readSeeds)
    .option("--corpus <file>", "texts to take the statistics of keys from; zoo-lm brings its own")
    .option("--statistics <file>", "what lfm stats gram took of the model, instead of a corpus")
    .action(run("where", ["model"], invocation));
}

function looking(edit: Command, name: string, about: string): Command {
  return withComputeOptions(withCommonOptions(edit.command(name).description(about))).option("--model <model>", modelHelp);
}

function withNoise(command: Command): Command {
  return command
    .option("--draws <n>", "draws of the noise", readCount, 10)
    .option("--noise <x>", "its deviation, in deviations of the subjects' embeddings", readAmount, 3);
}

function run(
  verb: "trace" | "lens" | "where",
  required: readonly string[],
  invocation: Invocation,
): (options: VerbOptions) => Promise<void> {
  return (options) =>
    act(invocation, options, async (console) => {
      await requireOptions(options, required);
      return (await import("../program/run-verb.js")).runVerb(verb, options, console, invocation);
    });
}
