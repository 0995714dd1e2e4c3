import { MessageChannel } from "node:worker_threads";
import { fromPlainError, LfmError, type Progress } from "@lfm/core";
import { startWorker } from "@lfm/core/worker";
import type { PlannedCell } from "../plan.js";
import type { CellEnd, Folders, FromWorker, ToWorker, WorkerInput } from "./protocol.js";
import { runnerBase } from "./runner-base.js";

export interface HandOptions {
  readonly catalog: string | undefined;
  readonly engine: string;
  readonly folders: Folders;
}

interface CellListener {
  progress(progress: Progress): void;
  log(message: string): void;
}

/** One worker thread as seen from the main thread. */
export interface Hand {
  /** Description of its engine. */
  readonly engine: string;
  /** False once the thread is gone. */
  readonly alive: boolean;
  /** Runs a cell. A thread that dies under it makes the cell fail; it does not throw. */
  run(cell: PlannedCell, listener: CellListener): Promise<CellEnd>;
  /** Asks the cell that is running to end after its step. The thread is never terminated: that aborts the process under ONNX Runtime. */
  stop(): void;
  /** Lets the thread end and waits for it. */
  end(): Promise<void>;
}

/** Starts a worker and waits until its engine stands. @throws {LfmError} BACKEND_UNAVAILABLE, CONFIG_INVALID, INTERNAL */
export async function startHand(options: HandOptions): Promise<Hand> {
  const channel = new MessageChannel();
  const input: WorkerInput = { ...options, stop: channel.port2 };
  const worker = startWorker(new URL("./run-worker.js", runnerBase()), { workerData: input, transferList: [channel.port2] });
  let alive = true;
  let receive: (message: FromWorker) => void = () => {};
  let lost: (reason: string) => void = () => {};
  let failure = "";
  worker.on("message", (message: FromWorker) => receive(message));
  worker.on("error", (error: Error) => {
    failure = `${error.name}: ${error.message}`;
  });
  const exited = new Promise<void>((resolve) => {
    worker.once("exit", (code) => {
      alive = false;
      channel.port1.close();
      lost(failure || `the thread ended with code ${code}`);
      resolve();
    });
  });
  const engine = await new Promise<string>((resolve, reject) => {
    lost = (reason) => reject(new LfmError("INTERNAL", `[@lfm/bench] the thread that runs cells did not start: ${reason}`));
    receive = (message) => {
      if (message.type === "ready") resolve(message.engine);
      if (message.type === "unavailable") {
        reject(fromPlainError(message.error));
      }
    };
  });
  const send = (message: ToWorker): void => worker.postMessage(message);
  return {
    engine,
    get alive() {
      return alive;
    },
    run: (cell, listener) =>
      new Promise<CellEnd>((resolve) => {
        const start = performance.now();
        lost = (reason) =>
          resolve({
            status: "failed",
            error: { code: "INTERNAL", message: `[@lfm/bench] the thread died: ${reason}` },
            wallMs: performance.now() - start,
            setupMs: 0,
          });
        receive = (message) => {
          if (message.type === "progress") listener.progress(message.progress);
          else if (message.type === "log") listener.log(message.message);
          else if (message.type === "end") resolve(message.end);
        };
        send({ type: "run", cell });
      }),
    stop: () => {
      if (alive) channel.port1.postMessage("stop");
    },
    end: async () => {
      if (alive) send({ type: "end" });
      await exited;
    },
  };
}
