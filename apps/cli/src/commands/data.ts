import type { Command } from "commander";
import type { CommonOptions } from "../program/console.js";
import { act, type Invocation, withCommonOptions } from "../program/invocation.js";

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
    data.command("show").argument("<name>", "a data set of `lfm data ls`").description("splits, sizes and first examples"),
  ).action((name: string, options: CommonOptions) =>
    act(invocation, options, async (console) => (await import("../jobs/data.js")).showData(name, console, invocation.io)),
  );
}
