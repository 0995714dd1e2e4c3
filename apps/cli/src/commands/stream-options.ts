import { type Command, Option } from "commander";
import { readBytes } from "./flag-values.js";

/** Options of everything that merges from files to files. */
export function withStreamOptions(command: Command): Command {
  return command
    .addOption(new Option("--dtype <dtype>", "dtype of the result").choices(["f32", "bf16", "f16"]))
    .option("--check", "look at headers only: does everything fit together?")
    .option("--explain", "show every tensor with its resolved parameters, merge nothing")
    .option("--dry-run", "show the plan, merge nothing")
    .option("--max-memory <size>", "memory that may be used, e.g. 512MiB", readBytes)
    .option("--shard-size <size>", "most bytes of an output file, e.g. 5GB", readBytes)
    .option("--resume", "go on with a merge that was stopped")
    .option("--overwrite", "replace the folder of the result")
    .option("--sync", "wait until the disk has everything, against power cuts");
}
