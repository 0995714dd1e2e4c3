import { createHash } from "node:crypto";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { cpus, totalmem } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import type { CellResult } from "@lfm/core";

const libraries = [
  "@lfm/core",
  "@lfm/data",
  "@lfm/distillation",
  "@lfm/editing",
  "@lfm/formats",
  "@lfm/meta",
  "@lfm/models",
  "@lfm/retrieval",
  "@lfm/reuse",
  "@lfm/train",
  "@lfm/tuning",
] as const;

export type Machine = CellResult["machine"];

export function describeMachine(): Machine {
  const all = cpus();
  return {
    cpu: all[0]?.model.trim() ?? "unknown",
    cores: all.length,
    memoryBytes: totalmem(),
    platform: `${process.platform} ${process.arch}`,
    node: process.version,
  };
}

/**
 * Versions of all that a result depends on. `code` is a hash over the files of the lfm packages that are in use (sources in a checkout,
 * the build otherwise) and of the zoo's weights: a result is never taken for one of changed code.
 */
export function collectVersions(): Record<string, string> {
  const here = fileURLToPath(import.meta.url);
  const fromSources = here.endsWith(".ts");
  const require = createRequire(import.meta.url);
  const versions: Record<string, string> = {};
  const code = createHash("sha256");
  for (const name of [...libraries, "onnxruntime-node"]) {
    const manifest = findManifest(require, name);
    if (!manifest) continue;
    versions[name] = (JSON.parse(readFileSync(manifest, "utf8")) as { version: string }).version;
    if (name.startsWith("@lfm/"))
      for (const folder of [fromSources ? "src" : "dist", "zoo"]) addFolder(code, join(dirname(manifest), folder));
  }
  // how results are shown does not change them
  addFolder(code, dirname(here), "report");
  versions.code = code.digest("hex").slice(0, 12);
  return versions;
}

function findManifest(require: NodeJS.Require, name: string): string | undefined {
  return (require.resolve.paths(name) ?? []).map((folder) => join(folder, name, "package.json")).find((path) => existsSync(path));
}

function addFolder(hash: ReturnType<typeof createHash>, folder: string, without?: string): void {
  if (!existsSync(folder)) return;
  for (const entry of readdirSync(folder, { withFileTypes: true }).sort((a, b) => (a.name < b.name ? -1 : 1))) {
    const path = join(folder, entry.name);
    if (entry.isDirectory()) {
      if (entry.name !== without) addFolder(hash, path);
    } else if (!entry.name.includes(".test.")) hash.update(`${entry.name}\0`).update(readFileSync(path));
  }
}
