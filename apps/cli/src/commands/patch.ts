import { type Command, Option } from "commander";
import { act, type Invocation, withCommonOptions } from "../program/invocation.js";
import type { VerbOptions } from "../program/job.js";
import { resultPlace, withComputeOptions } from "./compute-options.js";

const patchHelp = "what lfm edit wrote: its folder, or the file in it";

/** `lfm patch ls|show|apply|revert|merge|diff`. */
export function registerPatch(program: Command, invocation: Invocation): void {
  const group = program
    .command("patch")
    .description("edits as small files: look at them, stack them, take them off, put them into the weights");
  const run = (action: string, request: VerbOptions): Promise<void> =>
    act(invocation, request, async (console) =>
      (await import("../program/run-verb.js")).runVerb("patch", { ...request, action }, console, invocation),
    );
  const verb = (name: string, description: string): Command => withCommonOptions(group.command(name).description(description));
  verb("ls", "patches and stacks: method, facts, size, the model they lie on, and facts that contradict each other")
    .argument("[path...]", "patches, stacks, or folders of them (default .)")
    .action((paths: readonly string[], options: VerbOptions) => run("ls", { ...options, paths }));
  verb("show", "what was asked of a patch, and what it changes")
    .argument("<patch>", patchHelp)
    .action((patch: string, options: VerbOptions) => run("show", { ...options, patch }));
  verb("apply", "put patches on top of a stack, a folder that --delta takes; a stack that is not there begins")
    .argument("<stack>", "folder of the stack")
    .argument("<patch...>", `${patchHelp}, or another stack`)
    .option("--model <model>", "refuse patches of any other model than this")
    .action((stack: string, patches: readonly string[], options: VerbOptions) => run("apply", { ...options, stack, patches }));
  verb("revert", "take the topmost patch off a stack, or the one that is named: what is left is what it was without it, bit for bit")
    .argument("<stack>", "folder of the stack")
    .argument("[patch]", "its name or its number from the bottom, as lfm patch ls shows them")
    .action((stack: string, patch: string | undefined, options: VerbOptions) =>
      run("revert", { ...options, stack, ...(patch === undefined ? {} : { patch }) }),
    );
  withComputeOptions(
    verb("merge", "write the model with patches in its weights, a plain folder; its answers are held against those of the patched model"),
  )
    .argument("<patch...>", `${patchHelp}, or a stack; several in their order`)
    .option("--model <model>", "the model that they were made on")
    .option("--out <dir>", "folder of the result (default lfm-out/patch-merge)")
    .option("--overwrite", "replace the folder of the result")
    .addOption(new Option("--dtype <dtype>", "dtype of the result [as the model has it]").choices(["f32", "bf16", "f16"]))
    .action((patches: readonly string[], options: VerbOptions) =>
      act(invocation, options, async (console) => {
        const out = (await resultPlace(undefined, options)) ?? "lfm-out/patch-merge";
        return (await import("../program/run-verb.js")).runVerb(
          "patch",
          { ...options, action: "merge", patches, out },
          console,
          invocation,
        );
      }),
    );
  withComputeOptions(
    verb("diff", "what two patches or stacks say differently; with the model, how far they change its weights, and how alike"),
  )
    .argument("<first>", `${patchHelp}, or a stack`)
    .argument("<second>", "the same")
    .option("--model <model>", "the model that they were made on")
    .action((first: string, second: string, options: VerbOptions) => run("diff", { ...options, first, second }));
}
