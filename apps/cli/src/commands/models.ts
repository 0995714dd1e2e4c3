import type { Command } from "commander";
import { baseOption } from "../inputs/base-flag.js";
import { columnsHelp, readColumns } from "../inputs/columns.js";
import { act, type Invocation, withCommonOptions } from "../program/invocation.js";
import type { VerbOptions } from "../program/job.js";
import { requireOptions, withComputeOptions } from "./compute-options.js";
import { wishesHelp, withWishes } from "./continuation-options.js";
import { collect, readCount, readNumbers } from "./flag-values.js";

const modelHelp = "zoo-lm, a Hugging Face folder, or org/name on the hub";

/** `lfm generate`, `lfm predict` and `lfm eval`. */
export async function registerModels(program: Command, invocation: Invocation): Promise<void> {
  const run = (name: "generate" | "predict" | "eval", required: readonly string[]) => (options: VerbOptions) =>
    act(invocation, options, async (console) => {
      await requireOptions(options, required);
      return (await import("../program/run-verb.js")).runVerb(name, options, console, invocation);
    });
  withWishes(
    withComputeOptions(
      withCommonOptions(program.command("generate").description("continue prompts with a language model, with deltas on it or without")),
    )
      .option("--model <model>", modelHelp)
      .option("--prompt <text>", "text to continue; give it several times", collect)
      .option("--delta <dir>", "a delta on the model; several in their order", collect)
      .addOption(baseOption())
      .option("--chat", "prompts are what a user says: the model's chat template writes the conversation")
      .option("--system <text>", "what the conversation begins with"),
  )
    .addHelpText("after", wishesHelp)
    .action(run("generate", ["model", "prompt"]));
  withWishes(
    withComputeOptions(
      withCommonOptions(
        program
          .command("predict")
          .description("answer unlabelled examples: classes with their probability, values, or a language model's completions; a row each"),
      ),
    )
      .option("--model <model>", modelHelp)
      .option(
        "--data <file>",
        "what is asked: .jsonl, .csv, .tsv or .txt with text (and text2), prompt or messages; labels are not looked at",
      )
      .option("--delta <dir>", "a delta on the model; several in their order", collect)
      .addOption(baseOption())
      .option("--columns <role=column,…>", columnsHelp, readColumns)
      .option("--out <file>", "file of the answers, .jsonl (default: they are printed)")
      .option("--overwrite", "replace the file of the answers")
      .option("--batch-size <n>", "examples at a time, of classes and values", readCount, 32)
      .option("--max-length <n>", "tokens per example, longer ones are cut, of classes and values", readCount, 128)
      .option(
        "--votes <n>",
        "draw so many ways to each answer and take the one that most come to (self-consistency); with --temperature",
        readCount,
      )
      .option("--answer <pattern>", 'regular expression that reads an answer out of a completion, its last match: "answer is (\\\\S+)"'),
  )
    .addHelpText("after", wishesHelp)
    .action(run("predict", ["model", "data"]));
  withComputeOptions(
    withCommonOptions(
      program.command("eval").description("measure a model, with deltas on it or without, or several that answer together, on examples"),
    ),
  )
    .option("--model <model>", modelHelp)
    .option(
      "--data <file>",
      "examples: .jsonl, .csv or .tsv with text (and text2) + label, prompt + completion, text, or prompt + chosen + rejected",
    )
    .option("--columns <role=column,…>", columnsHelp, readColumns)
    .option("--delta <dir>", "a delta on the model; several in their order", collect)
    .addOption(baseOption())
    .option("--member <model>", "instead of --model, several times: models that answer together; MODEL+DELTA for one with a delta", collect)
    .option(
      "--ensemble <mode>",
      "how members answer: probabilities (their mean), logits, weighted, max-confidence, majority, stacking [probabilities]",
    )
    .option("--weights <a,b,…>", "weight of each member", readNumbers)
    .option("--held-out <file>", "labelled examples that no member learned from: for stacking, and weighted without --weights")
    .option("--batch-size <n>", "examples at a time", readCount, 32)
    .option("--max-length <n>", "tokens per example, longer ones are cut", readCount, 128)
    .option("--perplexity", "of a language model on the whole text of --data (.txt, or the texts of examples), in windows")
    .option("--window <n>", "perplexity: tokens that the model sees at a time [what it takes, 1024 at most]", readCount)
    .option(
      "--stride <n>",
      "perplexity: tokens that the next window goes on by; only those that no window had yet count [--window]",
      readCount,
    )
    .option("--max-tokens <n>", "perplexity: only so many tokens of the text's beginning", readCount)
    .action(run("eval", ["data"]));
}
