import type { Command } from "commander";
import { act, type Invocation, withCommonOptions } from "../program/invocation.js";
import type { VerbOptions } from "../program/job.js";

/** `lfm export MODEL[+DELTA] --onnx DIR | --gguf-lora FILE | --peft DIR | --adapters DIR`. */
export function registerExport(program: Command, invocation: Invocation): void {
  withCommonOptions(program.command("export"))
    .argument("<model>", "zoo-lm, a Hugging Face folder, or org/name on the hub; with +DELTA behind it as it is with the delta")
    .description("write a model, or a delta on it, in the form of other programs")
    .option(
      "--onnx <dir>",
      "a folder with model.onnx: ids and mask in, logits out, for any ONNX Runtime; of a model with deltas or without",
    )
    .option("--gguf-lora <file>", "a LoRA as llama.cpp loads it: MODEL+DELTA")
    .option("--peft <dir>", "a delta as PEFT loads it: MODEL+DELTA")
    .option("--adapters <dir>", "bottleneck adapters as the library adapters (AdapterHub) loads them: MODEL+DELTA")
    .option("--overwrite", "replace what is there")
    .action((model: string, options: VerbOptions) =>
      act(invocation, options, async (console) => {
        return (await import("../program/run-verb.js")).runVerb("export", { ...options, model }, console, invocation);
      }),
    );
}
