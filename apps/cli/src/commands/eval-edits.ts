import type { Command } from "commander";
import { loadMethods } from "../paradigms.js";
import type { Invocation } from "../program/invocation.js";
import { readCount } from "./flag-values.js";
import { methodAction, withMethod } from "./method-command.js";

/** `lfm eval-edits METHOD --requests edits.jsonl …`: what edits of a method do to a model, by every axis that their file asks about. */
export async function registerEvalEdits(program: Command, invocation: Invocation): Promise<void> {
  const command = program
    .command("eval-edits")
    .description("make each edit of a file on the untouched model, and see what it did: efficacy, generalisation, portability, locality")
    .usage("METHOD --model MODEL --requests edits.jsonl [options of lfm edit METHOD]");
  const [asked, about] = invocation.argv;
  if (asked !== "eval-edits" && !(asked === "help" && about === "eval-edits")) return;
  for (const method of await loadMethods.editing()) {
    const own = command
      .command(method.id)
      .option("--limit <n>", "edits at most, drawn at random [all]", readCount)
      .option("--only-known", "edit facts that the model knows: named first, or among the first 10 of 50 objects or more of their relation")
      .option("--write-tokens <n>", "length of texts about a subject, where the file has beginnings for them", readCount, 100)
      .option("--text <file>", "running text whose perplexity is taken before and after")
      .option("--text-tokens <n>", "tokens of its beginning that are looked at", readCount, 1024);
    withMethod(own, "eval-edits", method).action(methodAction(own, "eval-edits", method, invocation, "eval-edits"));
  }
}
