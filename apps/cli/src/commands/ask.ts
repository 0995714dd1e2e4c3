import { type Command, Option } from "commander";
import { askPolicies, promptForms } from "../asking/ask-flags.js";
import { baseOption } from "../inputs/base-flag.js";
import { act, type Invocation, withCommonOptions } from "../program/invocation.js";
import type { VerbOptions } from "../program/job.js";
import { requireOptions, withComputeOptions } from "./compute-options.js";
import { wishesHelp, withWishes } from "./continuation-options.js";
import { collect, readAmount, readCount } from "./flag-values.js";

const about = `
The answer comes with the passages that stood in the prompt, by number; how much of the answer's words each holds is counted, not judged.
Policies: always looks the question up; never asks the model alone; each-sentence drafts a sentence, looks it up and writes it again; flare
does so where a token of the draft is below --theta (Jiang et al. 2023), and looks for the tokens above --beta.`;

/** `lfm ask QUESTION --index DIR --model MODEL`. */
export function registerAsk(program: Command, invocation: Invocation): void {
  withWishes(
    withComputeOptions(withCommonOptions(program.command("ask").argument("<question...>", "what is asked")))
      .description("answer a question from the documents of an index, with citations")
      .option("--index <dir>", "folder that lfm index wrote")
      .option("--model <model>", "language model: zoo-lm, a Hugging Face folder, or org/name on the hub")
      .option("--delta <dir>", "a delta on the model; several in their order", collect)
      .addOption(baseOption())
      .addOption(new Option("--policy <name>", "when something is looked up").choices(askPolicies).default("always"))
      .option("--theta <p>", "flare: a token less probable has its sentence looked up [0.8]", readAmount)
      .option("--beta <p>", "flare: tokens less probable are not looked for [0.4]", readAmount)
      .option("--top <n>", "passages looked up at a time", readCount, 5)
      .option("--budget <n>", "tokens that passages may take in the prompt, the best first", readCount, 1024)
      .addOption(
        new Option("--form <form>", "how question and passages are written [chat where the model has a template, else labelled]").choices(
          promptForms,
        ),
      )
      .option("--and <index>", "a second index: reciprocal rank fusion of both")
      .option("--ef <n>", "HNSW: documents kept in view [64]", readCount)
      .option("--probes <n>", "IVF: lists looked into [8]", readCount)
      .option("--rescore <n>", "RFlat: so many times the hits are compared again exactly [4]", readCount),
    "128, or half of what the model has room for; of a sentence, where sentences are drafted",
  )
    .addHelpText("after", `${about}\n${wishesHelp}`)
    .action((question: readonly string[], options: VerbOptions) =>
      act(invocation, options, async (console) => {
        await requireOptions(options, ["model"]);
        return (await import("../program/run-verb.js")).runVerb("ask", { ...options, question: question.join(" ") }, console, invocation);
      }),
    );
}
