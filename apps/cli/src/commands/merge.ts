import { type Command, Option } from "commander";
import { act, type Invocation, withCommonOptions } from "../invocation.js";
import { collect, readBytes } from "../numbers.js";
import type { VerbOptions } from "../verbs.js";
import { withRunOptions } from "./work.js";

/** `lfm merge cfg.yml out/` and `lfm merge METHOD --model A --model B`. A method's own options come from its schema. */
export async function registerMerge(program: Command, invocation: Invocation): Promise<void> {
  const command = withRunOptions(withCommonOptions(program.command("merge")), "merge", "METHOD")
    .description("merge models: `lfm merge cfg.yml out/` with a mergekit file, or a method by name with --model")
    .argument("<config>", "a mergekit YAML file, or a merge method of `lfm methods ls --paradigm reuse`")
    .argument("[out]", "folder of the merged model")
    .option("--base <model>", "the model all others were tuned from")
    .option("--model <model>", "a model to merge: a folder, org/name on the hub, zoo-lm; give it several times", collect)
    .addOption(new Option("--dtype <dtype>", "dtype of the result").choices(["f32", "bf16", "f16"]))
    .option("--check", "look at headers only: does everything fit together?")
    .option("--explain", "show every tensor with its resolved parameters, merge nothing")
    .option("--dry-run", "show the plan, merge nothing")
    .option("--max-memory <size>", "memory that may be used, e.g. 512MiB", readBytes)
    .option("--shard-size <size>", "most bytes of an output file, e.g. 5GB", readBytes)
    .option("--resume", "go on with a merge that was stopped")
    .option("--overwrite", "replace the folder of the merged model")
    .option("--sync", "wait until the disk has everything, against power cuts")
    .addOption(new Option("--mode <mode>", "TIES and DARE as in mergekit or as in their papers").choices(["mergekit", "paper"]));
  const [verb, id = ""] = invocation.argv;
  const method =
    verb === "merge" && !/\.ya?ml$/i.test(id)
      ? (await (await import("../paradigms.js")).loadMethods.reuse()).find((m) => m.id === id)
      : undefined;
  const { addSchemaFlags, givenOptions } = method ? await import("../schema-flags.js") : {};
  if (method) {
    const presets = Object.keys(method.presets ?? {});
    if (presets.length > 0) command.addOption(new Option("--preset <name>", "named settings; flags override them").choices(presets));
    addSchemaFlags!(command, method.config);
  }
  command.action((config: string, out: string | undefined, options: VerbOptions) =>
    act(invocation, options, async (console) => {
      const own = method ? { config: givenOptions!(command, method.config) } : {};
      return (await import("../jobs/run.js")).runVerb(
        "merge",
        {
          ...options,
          ...own,
          mergeConfig: config,
          ...(out === undefined ? {} : { out }),
        },
        console,
        invocation,
      );
    }),
  );
}
