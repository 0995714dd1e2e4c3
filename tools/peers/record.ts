import { execFileSync } from "node:child_process";
import { mkdirSync, writeFileSync } from "node:fs";
import { cpus, totalmem } from "node:os";
import { join } from "node:path";

/** Where results lie. */
export const folder = join(import.meta.dirname, "../../docs/peers");

/** The processor that a ratio was measured on: ratios hold for it alone, so each vendor has a file of its own. */
export const machine = { cpu: cpus()[0]?.model ?? "unknown", cores: cpus().length, memoryBytes: totalmem() };

/** "amd", "intel" or the first word of the model's name. */
export function cpuVendor(model: string): string {
  const known = /\b(amd|intel|apple)\b/i.exec(model)?.[1] ?? model.split(/\s/)[0] ?? "";
  return known.toLowerCase().replace(/[^a-z0-9]/g, "") || "unknown";
}

/** docs/peers/NAME.VENDOR.json of the processor at hand. */
function resultPath(name: string): string {
  return join(folder, `${name}.${cpuVendor(machine.cpu)}.json`);
}

/** Writes what came out, with the commit that it came out at. */
export function writeResult(name: string, result: object): void {
  mkdirSync(folder, { recursive: true });
  const commit = execFileSync("git", ["rev-parse", "--short", "HEAD"], { cwd: folder, encoding: "utf8" }).trim();
  writeFileSync(resultPath(name), `${JSON.stringify({ ...result, commit }, null, 2)}\n`);
}
