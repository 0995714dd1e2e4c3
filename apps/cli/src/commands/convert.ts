import { type Command, Option } from "commander";
import { act, type Invocation, withCommonOptions } from "../program/invocation.js";
import type { VerbOptions } from "../program/job.js";
import { collect, readBytes } from "./flag-values.js";

/** `lfm convert model.gguf OUT`. */
export function registerConvert(program: Command, invocation: Invocation): void {
  withCommonOptions(program.command("convert"))
    .argument("<file>", "a GGUF file of llama.cpp; of one in several parts the first (NAME-00001-of-00003.gguf)")
    .argument("[out]", "folder of the result (default lfm-out/convert)")
    .description("make a Hugging Face folder of a GGUF file: weights, config, tokenizer, chat template")
    .addOption(
      new Option("--dtype <dtype>", "dtype of the weights; f32 holds every value of the file as it is")
        .choices(["f32", "bf16", "f16"])
        .default("f32"),
    )
    .option("--shard-size <size>", "most bytes of an output file, e.g. 5GB", readBytes)
    .option("--no-tokenizer", "weights and config only: for files whose tokenizer is not known")
    .option("--ignore-metadata <key>", "pass over metadata that are not known, e.g. llama.some_key; several", collect)
    .option("--overwrite", "replace the folder of the result")
    .action((file: string, out: string | undefined, options: VerbOptions) =>
      act(invocation, options, async (console) => {
        const request = { ...options, file, ...(out === undefined ? {} : { out }) };
        return (await import("../program/run-verb.js")).runVerb("convert", request, console, invocation);
      }),
    );
}
