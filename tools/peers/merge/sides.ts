import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type CommandRun, runCommand } from "./whole-command.js";

export const root = join(import.meta.dirname, "../../..");
/** A venv with tools/peers/requirements-merge.txt. */
const python = process.env.LFM_MERGEKIT_PYTHON ?? process.env.LFM_PYTHON ?? "python3";
const theirs = join(root, "tools/peers/theirs");

/** A folder for checkpoints (LFM_PEER_TMP, where there is room and no other disk in between), gone when `work` is done. */
export async function inScratch<T>(work: (folder: string) => Promise<T>): Promise<T> {
  const parent = process.env.LFM_PEER_TMP ?? tmpdir();
  mkdirSync(parent, { recursive: true });
  const folder = mkdtempSync(join(parent, "lfm-merge-peer-"));
  try {
    return await work(folder);
  } finally {
    rmSync(folder, { recursive: true });
  }
}

/** Writes base, model-1, … into `folder`. */
export async function makeModels(
  folder: string,
  architecture: "llama" | "gpt2",
  size: string,
  models: number,
  dtype: string,
  shard?: string,
): Promise<void> {
  await runCommand(
    python,
    [join(theirs, "merge_models.py"), folder, architecture, size, String(models), dtype, ...(shard ? [shard] : [])],
    folder,
  );
}

export function writeConfig(folder: string, name: string, yaml: string): string {
  writeFileSync(join(folder, `${name}.yml`), yaml);
  return `${name}.yml`;
}

export function mergeOurs(folder: string, config: string, out: string, more: readonly string[] = []): Promise<CommandRun> {
  return runCommand(
    process.execPath,
    [join(root, "apps/cli/bin/lfm.js"), "merge", config, out, "--overwrite", "--threads", "2", ...more],
    folder,
  );
}

export function mergeTheirs(folder: string, config: string, out: string): Promise<CommandRun> {
  return runCommand(python, ["-m", "mergekit.scripts.run_yaml", config, out, "--no-copy-tokenizer", "--random-seed", "0"], folder);
}

/** What merge_compare.py counts. */
export interface Comparison {
  readonly missing: readonly string[];
  readonly extra: readonly string[];
  readonly types: readonly unknown[];
  readonly elements: number;
  readonly equal: number;
  readonly ulps: number;
  readonly relative: number;
  readonly worst: string | null;
  readonly config: readonly string[];
  readonly loads?: boolean;
}

export async function compareOutputs(folder: string, ours: string, other: string, load: boolean): Promise<Comparison> {
  const out = join(folder, "comparison.json");
  await runCommand(
    "bash",
    ["-c", `"$0" "$@" > ${JSON.stringify(out)}`, python, join(theirs, "merge_compare.py"), ours, other, ...(load ? ["load"] : [])],
    folder,
  );
  return JSON.parse(readFileSync(out, "utf8")) as Comparison;
}

export async function versions(folder: string): Promise<Readonly<Record<string, string>>> {
  const out = join(folder, "versions.json");
  const code =
    "import json,importlib.metadata as m,sys; json.dump({n: m.version(n) for n in ('mergekit','torch','transformers','safetensors')}, open(sys.argv[1],'w'))";
  await runCommand(python, ["-c", code, out], folder);
  return { node: process.version, ...(JSON.parse(readFileSync(out, "utf8")) as Record<string, string>) };
}
