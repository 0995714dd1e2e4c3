import type { Worker, WorkerOptions } from "node:worker_threads";

/**
 * Starts a worker thread on a module of yours, from the build or from the sources.
 *
 * @param entry the module's place as it is in the build, `new URL("./my-worker.js", import.meta.url)`; where only `my-worker.ts` is
 *   there, that is run through tsx and siblings are read from their sources. Keep the module directly in `src/` and name it to
 *   `packageBuild(dir, ["src/my-worker.ts"])` in tsup.config.ts, so that the same relative name holds in `src/` and in `dist/`.
 * @param options as for `new Worker`; `workerData` arrives in the module through `workerInput()`
 * @throws {Error} when neither the .js nor the .ts file exists
 * @example
 * // src/train-worker.ts
 * import { parentPort } from "node:worker_threads";
 * import { workerInput } from "@lfm/core/worker";
 * parentPort?.postMessage(workerInput());
 * // src/train.ts
 * const worker = startWorker(new URL("./train-worker.js", import.meta.url), { workerData: { seed: 1 } });
 * worker.once("message", (message) => log(message));
 *
 * Never call `terminate()` while ONNX Runtime runs in the worker: it aborts the process. Post a message and let the worker end.
 */
export function startWorker(entry: URL | string, options?: WorkerOptions): Worker;

/** What the parent passed as `workerData` to `startWorker`; undefined on the main thread. */
export function workerInput(): unknown;

/** `x.js` where it exists, else `x.ts` beside it. @throws {Error} when there is neither */
export function resolveEntry(entry: URL | string): string;

/** Imports `x.js`, or `x.ts` through tsx (a development dependency: checkouts only). */
export function importEntry(entry: URL | string): Promise<Record<string, unknown>>;

/** Lets this thread import .ts files, with siblings found by the `@lfm/source` condition. Safe to call twice. */
export function registerSources(): Promise<void>;
