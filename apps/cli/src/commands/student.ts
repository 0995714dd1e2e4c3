import { type Command, Option } from "commander";
import { act, type Invocation, withCommonOptions } from "../program/invocation.js";
import type { VerbOptions } from "../program/job.js";
import { resultPlace } from "./compute-options.js";
import { readCount, readSeed, readSeeds } from "./flag-values.js";

/** `lfm student`: a smaller model to be taught, out of its teacher or from a config. */
export function registerStudent(program: Command, invocation: Invocation): void {
  withCommonOptions(program.command("student"))
    .argument("[out]", "folder of the student (default lfm-out/student)")
    .description("make a smaller model to be taught: layers of its teacher, a narrower one, or fresh from a config")
    .option("--teacher <model>", "the model that it is made of, or whose tokenizer it gets: a folder, org/name on the hub, zoo-lm")
    .option("--layers <a,b,…>", "layers of the teacher that are kept, from 0", readSeeds)
    .option("--every <n>", "every n-th layer of the teacher, from 0", readCount)
    .option("--width <n>", "width of the stream between layers; heads stay as wide as they are", readCount)
    .option("--inner <n>", "units of each MLP [the width's share]", readCount)
    .addOption(
      new Option("--by <way>", "how the stream becomes narrower: its strongest coordinates, or the singular vectors of what reads it")
        .choices(["svd", "pruning"])
        .default("svd"),
    )
    .option("--shape <config.json>", "instead of all that: fresh weights of this shape")
    .option("--seed <n>", "seed of fresh weights", readSeed, 0)
    .option("--out <dir>", "where the student goes (default lfm-out/student)")
    .option("--overwrite", "replace the folder of the result")
    .action((out: string | undefined, options: VerbOptions) =>
      act(invocation, options, async (console) => {
        const place = await resultPlace(out, options);
        const request = { ...options, ...(place === undefined ? {} : { out: place }) };
        return (await import("../program/run-verb.js")).runVerb("student", request, console, invocation);
      }),
    );
}
