import type { Command } from "commander";
import type { CommonOptions } from "../program/console.js";
import { act, type Invocation, withCommonOptions } from "../program/invocation.js";

/** `lfm doctor`: what is there to compute with, and the line that installs what is missing. */
export async function registerDoctor(program: Command, invocation: Invocation): Promise<void> {
  withCommonOptions(program.command("doctor").description("show engines, providers, threads, data folders, and what is missing")).action(
    (options: CommonOptions) =>
      act(invocation, options, async (console) => {
        const os = await import("node:os");
        const { existsSync } = await import("node:fs");
        const { listEngines } = await import("@lfm/core");
        const { env } = invocation.io;
        const engines = await listEngines();
        const folders = (["LFM_DATA", "LFM_MODELS"] as const).map((name) => ({
          name,
          path: env[name] ?? null,
          found: env[name] !== undefined && existsSync(env[name]),
        }));
        const machine = {
          node: process.version,
          platform: `${process.platform} ${process.arch}`,
          cpu: os.cpus()[0]?.model ?? "unknown",
          cores: os.cpus().length,
          memoryBytes: os.totalmem(),
        };
        console.result({ machine, engines, folders }, () =>
          [
            `node ${machine.node}, ${machine.platform}, ${machine.cpu} × ${machine.cores}, ${(machine.memoryBytes / 2 ** 30).toFixed(1)} GiB`,
            "",
            ...engines.flatMap((e) => [
              `${e.installed ? "✓" : "✗"} ${e.name}${e.version ? ` ${e.version}` : ""}${e.providers && e.providers.length > 0 ? ` (providers: ${e.providers.join(", ")})` : ""}${e.note ? ` — ${e.note}` : ""}`,
              ...(e.installed || !e.install ? [] : [`    ${e.install}`]),
            ]),
            "",
            ...folders.map((f) =>
              f.path === null
                ? `– ${f.name} is not set: suites on real data are skipped (export ${f.name}=/path)`
                : `${f.found ? "✓" : "✗"} ${f.name} = ${f.path}${f.found ? "" : " (no such folder)"}`,
            ),
          ].join("\n"),
        );
      }),
  );
}
