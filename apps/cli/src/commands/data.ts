import type { Command } from "commander";
import { columnsHelp, readColumns } from "../inputs/columns.js";
import type { ShowOptions } from "../jobs/show-examples.js";
import type { CommonOptions } from "../program/console.js";
import { act, type Invocation, withCommonOptions } from "../program/invocation.js";
import { readCount } from "./flag-values.js";

interface DataOptions extends CommonOptions {
  readonly out?: string;
}

/** `lfm data ls|pull|show`: the real data sets, pinned by source and sha256. */
export async function registerData(program: Command, invocation: Invocation): Promise<void> {
  const data = program.command("data").description("real data sets: list, fetch, look into");
  withCommonOptions(data.command("ls").description("every data set with licence, size and whether it is here")).action(
    (options: CommonOptions) =>
      act(invocation, options, async (console) => (await import("../jobs/data.js")).listData(console, invocation.io)),
  );
  withCommonOptions(
    data.command("pull").argument("<name>", "a data set of `lfm data ls`").description("fetch a data set and check its hashes"),
  )
    .option("--out <dir>", "folder of data sets (default $LFM_DATA, else ./lfm-data)")
    .action((name: string, options: DataOptions) =>
      act(invocation, options, async (console) => (await import("../jobs/data.js")).pullData(name, options.out, console, invocation.io)),
    );
  withCommonOptions(
    data
      .command("show")
      .argument("<name>", "a data set of `lfm data ls`, or a file of examples")
      .description("a set: splits, sizes, files; a file: its examples as they will be read, and counts by label"),
  )
    .option("--columns <role=column,…>", `a file: ${columnsHelp}`, readColumns)
    .option("--regression", "a file: labels are values")
    .option("--rows <n>", "a file: examples to show [5]", readCount)
    .action((name: string, options: CommonOptions & ShowOptions) =>
      act(invocation, options, async (console) => (await import("../jobs/data.js")).showData(name, options, console, invocation.io)),
    );
}
