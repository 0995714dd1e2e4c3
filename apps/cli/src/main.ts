import { Command, CommanderError } from "commander";
import { registerAsk } from "./commands/ask.js";
import { registerBench } from "./commands/bench.js";
import { registerConvert } from "./commands/convert.js";
import { registerData } from "./commands/data.js";
import { registerDoctor } from "./commands/doctor.js";
import { registerEvalEdits } from "./commands/eval-edits.js";
import { registerExport } from "./commands/export.js";
import { refuseTwice } from "./commands/given-once.js";
import { registerMerge } from "./commands/merge.js";
import { registerMethods } from "./commands/methods.js";
import { registerModels } from "./commands/models.js";
import { registerPatch } from "./commands/patch.js";
import { registerReport } from "./commands/report.js";
import { registerSearch } from "./commands/search.js";
import { registerServe } from "./commands/serve.js";
import { registerStats } from "./commands/stats.js";
import { registerStudent } from "./commands/student.js";
import { registerSweep } from "./commands/sweep.js";
import { registerTaskVector } from "./commands/task-vector.js";
import { registerWork } from "./commands/work.js";
import type { Io } from "./program/console.js";
import { exitCodes } from "./program/exit-codes.js";
import type { Invocation } from "./program/invocation.js";
import type { RunJob } from "./program/job.js";
import { runInThread } from "./program/run-job.js";

/** What the program stands in. Default: this process, with a thread for each job. */
export interface Surroundings {
  readonly io?: Io;
  readonly runJob?: RunJob;
}

/**
 * The command line. Nothing heavy is imported before a command needs it, so that help comes at once.
 * @param argv arguments without node and script
 * @returns the exit code: 0 ok, 1 failure, 2 usage, 130 stopped on request
 */
export async function main(
  argv: readonly string[],
  { io = { stdout: process.stdout, stderr: process.stderr, env: process.env }, runJob = runInThread }: Surroundings = {},
): Promise<number> {
  const invocation: Invocation = { io, argv, runJob, exitCode: exitCodes.ok, options: [] };
  const program = new Command("lfm")
    .description(
      "Learning from models: tune, distil, merge, meta-learn, edit, retrieve — and see what each gained, cost, broke and gives away.",
    )
    .version("0.1.0", "-V, --version")
    .exitOverride()
    .showHelpAfterError("(lfm --help shows the commands)")
    .addHelpText(
      "after",
      "\nExit codes: 0 done, 1 failed, 2 wrong usage or configuration, 130 stopped on request (what was done is saved).",
    )
    .configureOutput({ writeOut: (text) => void io.stdout.write(text), writeErr: (text) => void io.stderr.write(text) });
  for (const register of [
    registerWork,
    registerStudent,
    registerSweep,
    registerEvalEdits,
    registerMerge,
    registerTaskVector,
    registerStats,
    registerPatch,
    registerModels,
    registerServe,
    registerConvert,
    registerExport,
    registerSearch,
    registerAsk,
    registerBench,
    registerReport,
    registerMethods,
    registerData,
    registerDoctor,
  ]) {
    await register(program, invocation);
  }
  refuseTwice(program);
  program.hook("preAction", (_, command) => {
    invocation.options = command.options;
  });
  try {
    await program.parseAsync([...argv], { from: "user" });
    return invocation.exitCode;
  } catch (error) {
    if (!(error instanceof CommanderError)) throw error;
    return error.exitCode === 0 ? exitCodes.ok : exitCodes.usage;
  }
}
