import type { Command } from "commander";
import type { BenchOptions } from "../jobs/bench.js";
import type { CommonOptions } from "../program/console.js";
import { act, type Invocation, withCommonOptions } from "../program/invocation.js";
import { readCount, readSeeds } from "./flag-values.js";

/** `lfm bench --suite quick --out DIR`: every paradigm on the same models, data and seeds; a table and an HTML report. */
export async function registerBench(program: Command, invocation: Invocation): Promise<void> {
  withCommonOptions(program.command("bench").description("run a benchmark suite over every paradigm and write its report"))
    .option("--suite <name>", "quick, standard, tuning-tradeoff, reuse, editing, real, real-merging, editing-real, or a YAML file", "quick")
    .option("--out <dir>", "folder of results (default lfm-out/bench-SUITE); finished cells in it are kept")
    .option("--seed <n,…>", "seeds instead of the suite's", readSeeds)
    .option("--engine <name>", "auto, ort, tfjs or reference", "auto")
    .option("--only <text>", "only cells whose paradigm/task/method contains this")
    .option("--limit <n>", "at most this many cells", readCount)
    .option("--jobs <n>", "cells at a time", readCount)
    .option("--threads <n>", "threads inside one operation", readCount)
    .option("--dry-run", "show the plan, run nothing")
    .action((options: BenchOptions) =>
      act(invocation, options, async (console) => (await import("../jobs/bench.js")).runBench(options, console, invocation.io)),
    );
  withCommonOptions(
    program
      .command("compare")
      .argument("<before>", "folder of results")
      .argument("<after>", "folder of results")
      .description("compare two benchmark runs; fails on a regression"),
  )
    .option(
      "--tolerance <share>",
      "change that is no regression, as a share of the scale (1 for fractions, 100 for points, else the old value)",
      Number,
      0.02,
    )
    .action((before: string, after: string, options: CommonOptions & { readonly tolerance: number }) =>
      act(invocation, options, async (console) => (await import("../jobs/bench.js")).runCompare(before, after, options.tolerance, console)),
    );
}
