import type { Command } from "commander";
import type { CommonOptions } from "../program/console.js";
import { act, type Invocation, withCommonOptions } from "../program/invocation.js";

/** `lfm report DIR`: writes the report of a run again from its results. */
export async function registerReport(program: Command, invocation: Invocation): Promise<void> {
  withCommonOptions(
    program
      .command("report")
      .argument("<dir>", "folder that a bench run wrote")
      .description("write report.html, .md, .csv and .json from the results in a folder"),
  ).action((dir: string, options: CommonOptions) =>
    act(invocation, options, async (console) => {
      const { writeReport } = await import("@lfm/bench");
      const written = await writeReport(dir);
      console.result(written, () => Object.values(written).join("\n"));
    }),
  );
}
