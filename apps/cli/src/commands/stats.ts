import { Argument, type Command, Option } from "commander";
import { act, type Invocation, withCommonOptions } from "../program/invocation.js";
import type { VerbOptions } from "../program/job.js";
import { requireOptions, withComputeOptions } from "./compute-options.js";
import { collect, readAmount, readCount } from "./flag-values.js";

/** `lfm stats fisher|gram MODEL`: files for `lfm merge fisher`, `lfm merge regmean` and `lfm edit rome`. */
export async function registerStats(program: Command, invocation: Invocation): Promise<void> {
  withComputeOptions(
    withCommonOptions(
      program
        .command("stats")
        .addArgument(
          new Argument(
            "<kind>",
            "fisher: squared gradients, for `lfm merge fisher`; gram: what flows into linear layers, for `lfm merge regmean` and `lfm edit rome`",
          ).choices(["fisher", "gram"]),
        )
        .argument(
          "<model>",
          "zoo-lm, a Hugging Face folder, or org/name on the hub; with +DELTA behind it as it is with the delta in its weights",
        ),
    ),
  )
    .description("measure what a model's data says about its weights, for merges and edits that weigh by it")
    .option("--data <file>", "examples of the model's task: .jsonl, .csv or .tsv with text + label, prompt + completion, or text")
    .option("--samples <n>", "examples to look at, drawn with the seed", readCount, 256)
    .addOption(
      new Option(
        "--estimator <name>",
        "fisher: expected over all answers (default of classifiers), empirical: of the answers given (default of language models), fusion-bench",
      ).choices(["expected", "empirical", "fusion-bench"]),
    )
    .option("--sites <name>", "gram: only layers of this path, ending or role, e.g. down_proj; several", collect)
    .option(
      "--tolerance <share>",
      "gram: stop once twice the examples have moved no matrix by more than this share of its size, e.g. 0.02; --samples is then the most",
      readAmount,
    )
    .option("--delta <dir>", "a delta that is put into the weights; several in their order", collect)
    .option("--batch-size <n>", "examples at a time", readCount, 16)
    .option("--max-length <n>", "tokens per example, longer ones are cut", readCount, 128)
    .option("--out <file>", "file of the statistics, e.g. a.fisher.safetensors")
    .option("--overwrite", "replace the statistics that are there")
    .option("--fresh", "gram: start over, drop what a stopped run has measured for that file")
    .action((kind: string, model: string, options: VerbOptions) =>
      act(invocation, options, async (console) => {
        await requireOptions(options, ["data", "out"]);
        return (await import("../program/run-verb.js")).runVerb("stats", { ...options, kind, model }, console, invocation);
      }),
    );
}
