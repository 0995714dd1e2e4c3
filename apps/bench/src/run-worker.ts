import { parentPort } from "node:worker_threads";
import { createEngine, type EngineName, portSignal, sparseProgress } from "@lfm/core";
import { workerInput } from "@lfm/core/worker";
import { loadCatalog } from "./catalog.js";
import { briefError } from "./runner/brief-error.js";
import { type CellEnvironment, executeCell, SharedThings } from "./runner/execute.js";
import type { FromWorker, ToWorker, WorkerInput } from "./runner/protocol.js";

/** The thread that runs cells, one after the other, with one engine and one memory of shared things. */
async function serve(input: WorkerInput): Promise<void> {
  const say = (message: FromWorker): void => parentPort!.postMessage(message);
  const inbox = openInbox();
  let environment: CellEnvironment;
  try {
    const catalog = await loadCatalog(input.catalog);
    environment = {
      catalog,
      engine: await createEngine(input.engine as EngineName | "auto"),
      folders: input.folders,
      shared: new SharedThings(),
      signal: portSignal(input.stop),
      log: (message) => say({ type: "log", message }),
      progress: (progress) => say({ type: "progress", progress }),
    };
  } catch (error) {
    say({ type: "unavailable", error: briefError(error) });
    parentPort!.close();
    return;
  }
  say({ type: "ready", engine: environment.engine.description });
  for (;;) {
    const message = await inbox();
    if (message.type === "end") break;
    const progress = sparseProgress(environment.progress);
    say({ type: "end", end: await executeCell(message.cell, { ...environment, progress }) });
  }
  environment.shared.release();
  await environment.engine.dispose();
  input.stop.close();
  parentPort!.close();
}

/** Messages in their order, awaited one at a time. */
function openInbox(): () => Promise<ToWorker> {
  const waiting: ToWorker[] = [];
  let wake: (() => void) | undefined;
  parentPort!.on("message", (message: ToWorker) => {
    waiting.push(message);
    wake?.();
  });
  return async () => {
    while (waiting.length === 0) {
      await new Promise<void>((resolve) => {
        wake = resolve;
      });
    }
    return waiting.shift()!;
  };
}

void serve(workerInput() as WorkerInput);
