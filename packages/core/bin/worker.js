// Plain JavaScript on purpose: a worker thread cannot start from a .ts file. This one file is committed, starts in every thread, and from
// there loads the built entry where there is one and the TypeScript source otherwise. Types: worker.d.ts.
import { existsSync } from "node:fs";
import { register } from "node:module";
import { fileURLToPath } from "node:url";
import { isMainThread, Worker, workerData } from "node:worker_threads";

const REGISTERED = Symbol.for("lfm.sources");

export async function registerSources() {
  if (globalThis[REGISTERED]) return;
  globalThis[REGISTERED] = true;
  const tsx = await import("tsx/esm/api");
  tsx.register();
  register("./source-condition.js", import.meta.url);
}

export function resolveEntry(entry) {
  const built = fileURLToPath(entry);
  if (existsSync(built)) return new URL(entry).href;
  if (existsSync(built.replace(/\.js$/, ".ts"))) return new URL(entry).href.replace(/\.js$/, ".ts");
  throw new Error(`[@lfm/core] worker entry not found: ${built} (nor its .ts source)`);
}

export async function importEntry(entry) {
  const href = resolveEntry(entry);
  if (href.endsWith(".ts")) await registerSources();
  return import(href);
}

export function startWorker(entry, options = {}) {
  const { workerData: data, ...rest } = options;
  return new Worker(new URL(import.meta.url), { ...rest, workerData: { lfmEntry: resolveEntry(entry), data } });
}

export function workerInput() {
  return workerData?.data;
}

// No top-level await, so that require() of this module works too; a failed import reaches the parent as the worker's "error" event.
if (!isMainThread && typeof workerData?.lfmEntry === "string") void importEntry(workerData.lfmEntry);
