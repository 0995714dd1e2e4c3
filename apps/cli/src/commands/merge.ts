import type { AnyMethod } from "@lfm/core";
import { type Command, Option } from "commander";
import { act, type Invocation, withCommonOptions } from "../program/invocation.js";
import type { VerbOptions } from "../program/job.js";
import { resultPlace, withRunOptions } from "./compute-options.js";
import { collect } from "./flag-values.js";
import { withStreamOptions } from "./stream-options.js";

/** `lfm merge cfg.yml out/` and `lfm merge METHOD --model A --model B`. A method's own options come from its schema. */
export async function registerMerge(program: Command, invocation: Invocation): Promise<void> {
  const command = program.command("merge");
  const [verb, id = ""] = invocation.argv;
  const named = verb === "merge" && /^[a-z]/.test(id) && !/\.ya?ml$/i.test(id);
  const method = named ? (await (await import("../paradigms.js")).loadMethods.reuse()).find((m) => m.id === id) : undefined;
  command.argument("<config>", "a mergekit YAML file, or a merge method of `lfm methods ls --paradigm reuse`");
  // What merges tensor by tensor is streamed from files to files; models that answer together are no merge, and streaming says so.
  if (method && !("merging" in method) && !("members" in method.inputs)) {
    (await import("./method-command.js")).addMethod(command, "merge", method, invocation);
    return;
  }
  await streamed(command, method, invocation);
}

async function streamed(command: Command, method: AnyMethod | undefined, invocation: Invocation): Promise<void> {
  withStreamOptions(withRunOptions(withCommonOptions(command), "merge", "METHOD"))
    .argument("[out]", "folder of the result")
    .description(method?.summary ?? "merge models: `lfm merge cfg.yml out/` with a mergekit file, or a method by name with --model")
    .option("--base <model>", "the model all others were tuned from")
    .option("--model <model>", "a model to merge: a folder, org/name on the hub, zoo-lm; give it several times", collect)
    .option(
      "--heads <model>",
      "whose head for a task the result has: one of the models, none, or merge (default; heads must be for the same)",
    )
    .option("--statistics <file>", "fisher, regmean: what lfm stats wrote, a file for each --model, in their order", collect)
    .option("--verify", "read all weights to see that statistics were taken with them (small models are always looked at)")
    .option("--unsafe-truncate-embeddings", "cut embeddings to the rows that all models have; token ids must mean the same in all")
    .addOption(new Option("--mode <mode>", "TIES and DARE as in mergekit or as in their papers").choices(["mergekit", "paper"]));
  const { addSchemaFlags, givenOptions } = method ? await import("./schema-flags.js") : {};
  if (method) {
    (await import("./method-command.js")).withPresets(command, method);
    addSchemaFlags!(command, method.config);
  }
  command.action((config: string, out: string | undefined, options: VerbOptions) =>
    act(invocation, options, async (console) => {
      const own = method ? { config: givenOptions!(command, method.config) } : {};
      const place = await resultPlace(out, options);
      const request = { ...options, ...own, mergeConfig: config, ...(place === undefined ? {} : { out: place }) };
      return (await import("../program/run-verb.js")).runVerb("merge", request, console, invocation);
    }),
  );
}
