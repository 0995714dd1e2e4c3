import type { Command } from "commander";
import { act, type Invocation, withCommonOptions } from "../program/invocation.js";
import type { VerbOptions } from "../program/job.js";
import { requireOptions, withComputeOptions } from "./compute-options.js";

/** `lfm meta adapt` and `lfm meta eval`: what a learner that was saved makes of new tasks. */
export function registerMetaAnswers(meta: Command, invocation: Invocation): void {
  const command = (name: string, about: string): Command =>
    withComputeOptions(withCommonOptions(meta.command(name).description(about))).argument("<learner>", "folder that lfm meta METHOD wrote");
  const run =
    (verb: "meta-adapt" | "meta-eval", required: readonly string[]) =>
    (learner: string, options: VerbOptions): Promise<void> =>
      act(invocation, options, async (console) => {
        await requireOptions(options, required);
        return (await import("../program/run-verb.js")).runVerb(verb, { ...options, learner }, console, invocation);
      });
  command("adapt", "learn classes from a handful of labelled examples, and answer others")
    .option("--support <path>", "labelled examples, as --data of lfm meta: a folder of class folders, or a .csv with text and label")
    .option("--ask <path>", "what is asked: a folder of .png files, or a .csv, .jsonl or .txt with text")
    .action(run("meta-adapt", ["support", "ask"]));
  command("eval", "measure a learner on a fixed list of episodes")
    .option(
      "--episodes <path>",
      'a .jsonl, {"support": [["a/1.png", "a"], …], "query": […]} a line, paths from its folder; or run files of Omniglot\'s authors: class_labels.txt, or the folder of run01 … run20',
    )
    .action(run("meta-eval", ["episodes"]));
}
