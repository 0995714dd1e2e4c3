import { type Command, Option } from "commander";
import { act, type Invocation, withCommonOptions } from "../program/invocation.js";
import type { VerbOptions } from "../program/job.js";
import { withComputeOptions } from "./compute-options.js";
import { readAmount, readCount } from "./flag-values.js";

/** `lfm index` and `lfm search`. */
export async function registerSearch(program: Command, invocation: Invocation): Promise<void> {
  withComputeOptions(
    withCommonOptions(
      program.command("index").argument("<documents>", "a .jsonl, .csv or .tsv with text (and id, title), or a BEIR folder"),
    ),
  )
    .description("build an index over documents: BM25 by words, or dense by a sentence encoder")
    .addOption(new Option("--kind <kind>", "how documents are found").choices(["bm25", "flat"]).default("bm25"))
    .option("--model <model>", "sentence encoder of a dense index: a Hugging Face folder, or org/name on the hub")
    .option("--k1 <x>", "BM25: saturation of the term frequency [0.9]", readAmount)
    .option("--b <x>", "BM25: weight of the document length [0.4]", readAmount)
    .option("--out <dir>", "folder of the index (default lfm-out/index)")
    .action((documents: string, options: VerbOptions) =>
      act(invocation, options, async (console) =>
        (await import("../program/run-verb.js")).runVerb("index", { ...options, documents }, console, invocation),
      ),
    );
  withComputeOptions(
    withCommonOptions(
      program.command("search").argument("<index>", "folder that lfm index wrote").argument("<query...>", "what is looked for"),
    ),
  )
    .description("search an index; two indexes of the same documents are fused with --and")
    .option("--top <n>", "hits to show", readCount, 10)
    .option("--and <index>", "a second index: reciprocal rank fusion of both")
    .action((index: string, query: readonly string[], options: VerbOptions) =>
      act(invocation, options, async (console) =>
        (await import("../program/run-verb.js")).runVerb("search", { ...options, index, query: query.join(" ") }, console, invocation),
      ),
    );
}
