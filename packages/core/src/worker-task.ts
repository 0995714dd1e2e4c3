import { isMainThread, MessageChannel, type MessagePort, parentPort, receiveMessageOnPort } from "node:worker_threads";
import { startWorker, workerInput } from "@lfm/core/worker";
import { LfmError } from "./errors.js";
import type { Progress } from "./method.js";
import { fromPlainError, type PlainError, plainError } from "./plain-error.js";

/** What a task in a worker may use. */
export interface TaskContext {
  /** Fires when the caller asks to stop; look at `aborted` between two steps. */
  readonly signal: AbortSignal;
  log(message: string): void;
  progress(progress: Progress): void;
}

export interface TaskOptions {
  readonly signal?: AbortSignal;
  readonly log?: (message: string) => void;
  readonly progress?: (progress: Progress) => void;
}

interface TaskInput {
  readonly input: unknown;
  readonly stop: MessagePort;
}

/** To a thread that serves more than one task: the next, or none for the end. */
type ToTask = { readonly task: unknown } | null;

type FromTask =
  | { readonly type: "log"; readonly message: string }
  | { readonly type: "progress"; readonly progress: Progress }
  | { readonly type: "result"; readonly result: unknown }
  | { readonly type: "error"; readonly error: PlainError };

/** Progress closer together than this is dropped: a reader sees no more, and a message costs more than a small step. */
const PROGRESS_EVERY_MS = 50;

/**
 * Runs a task in a thread of its own, so that progress and Ctrl-C are answered while a step blocks that thread.
 * The thread is asked to stop by message and ends by itself: terminating it inside ONNX Runtime would abort the process.
 * @param entry module that calls {@link serveTask}, as for `startWorker` of `@lfm/core/worker`
 * @param input anything that can be cloned
 * @throws {LfmError} what the task threw, with its code, hint and details; INTERNAL when the thread dies
 */
export async function runTask<Output>(entry: URL, input: unknown, options: TaskOptions = {}): Promise<Output> {
  return startThread(entry, input, options.signal).answer<Output>(options);
}

/** A thread that runs tasks one after the other on what it opened once. */
export interface TaskThread<Opened, Task, Output> {
  /** What opening handed back. */
  readonly opened: Opened;
  /** False once the thread is gone. */
  readonly alive: boolean;
  /** One at a time. @throws {LfmError} what the task threw; INTERNAL when the thread dies under it */
  run(task: Task, options?: Omit<TaskOptions, "signal">): Promise<Output>;
  /** Lets the thread close what it opened, and waits until it has ended. */
  end(): Promise<void>;
}

/**
 * Like {@link runTask}, for many tasks. The signal stops the thread as a whole: the task that runs, and all after it.
 * @param entry module that calls {@link serveTasks}
 * @throws {LfmError} what opening threw; INTERNAL when the thread dies
 */
export async function openTasks<Opened, Task, Output>(
  entry: URL,
  input: unknown,
  options: TaskOptions = {},
): Promise<TaskThread<Opened, Task, Output>> {
  const thread = startThread(entry, input, options.signal);
  const opened = await thread.answer<Opened>(options);
  return {
    opened,
    get alive() {
      return thread.alive;
    },
    run: (task, taskOptions = {}) => {
      thread.post({ task });
      return thread.answer<Output>(taskOptions);
    },
    end: () => {
      thread.post(null);
      return thread.exited;
    },
  };
}

interface Thread {
  readonly alive: boolean;
  readonly exited: Promise<void>;
  post(message: ToTask): void;
  /** The next result or error. */
  answer<T>(options: TaskOptions): Promise<T>;
}

function startThread(entry: URL, input: unknown, signal: AbortSignal | undefined): Thread {
  const channel = new MessageChannel();
  const worker = startWorker(entry, { workerData: { input, stop: channel.port2 } satisfies TaskInput, transferList: [channel.port2] });
  const stop = (): void => channel.port1.postMessage("stop");
  if (signal?.aborted) stop();
  signal?.addEventListener("abort", stop);
  let lost: LfmError | undefined;
  let receive = (_: FromTask): void => {};
  let reject = (_: LfmError): void => {};
  const lose = (how: string, cause?: unknown): void => {
    lost ??= new LfmError("INTERNAL", `[@lfm/core] the worker ${how}`, { cause });
    reject(lost);
  };
  worker.on("message", (message: FromTask) => receive(message));
  worker.once("error", (cause) => lose(`failed: ${cause.message}`, cause));
  const exited = new Promise<void>((resolve) => {
    worker.once("exit", (code) => {
      lose(`ended with code ${code} before its task was done`);
      signal?.removeEventListener("abort", stop);
      channel.port1.close();
      resolve();
    });
  });
  return {
    get alive() {
      return lost === undefined;
    },
    exited,
    post: (message) => worker.postMessage(message),
    answer: <T>(options: TaskOptions) =>
      new Promise<T>((resolve, fail) => {
        if (lost) fail(lost);
        reject = fail;
        receive = (message) => {
          if (message.type === "log") options.log?.(message.message);
          else if (message.type === "progress") options.progress?.(message.progress);
          else if (message.type === "result") resolve(message.result as T);
          else fail(fromPlainError(message.error));
        };
      }),
  };
}

/** The other side: call it once in the entry module of a worker. Does nothing on the main thread. */
export function serveTask<Input, Output>(run: (input: Input, context: TaskContext) => Promise<Output>): void {
  const served = servedThread();
  if (served) void served.answer((context) => run(served.input as Input, context)).finally(served.close);
}

/** What a thread for many tasks keeps between them. */
export interface OpenedTasks<Opened, Task, Output> {
  /** For the caller. */
  readonly opened: Opened;
  run(task: Task, context: TaskContext): Promise<Output>;
  close(): Promise<void>;
}

/** The other side of {@link openTasks}. */
export function serveTasks<Input, Opened, Task, Output>(
  open: (input: Input, context: TaskContext) => Promise<OpenedTasks<Opened, Task, Output>>,
): void {
  const served = servedThread();
  if (!served) return;
  const { port, input, answer } = served;
  let tasks: OpenedTasks<Opened, Task, Output> | undefined;
  const close = async (): Promise<void> => {
    await tasks?.close();
    served.close();
    port.close();
  };
  port.on("message", (message: ToTask) => {
    if (message && tasks) void answer((context) => tasks!.run(message.task as Task, context));
    else void close();
  });
  const opening = answer(async (context) => {
    tasks = await open(input as Input, context);
    return tasks.opened;
  });
  // an opening that failed has said so, and leaves nothing to wait for
  void opening.then(() => {
    if (!tasks) void close();
  });
}

interface Served {
  readonly input: unknown;
  readonly port: MessagePort;
  /** Says what came of a task; does not throw. */
  answer(run: (context: TaskContext) => Promise<unknown>): Promise<void>;
  close(): void;
}

function servedThread(): Served | undefined {
  if (isMainThread || !parentPort) return undefined;
  const port = parentPort;
  const { input, stop } = workerInput() as TaskInput;
  const say = (message: FromTask): void => port.postMessage(message);
  const signal = portSignal(stop);
  return {
    input,
    port,
    answer: (run) => {
      const progress = sparseProgress((report) => say({ type: "progress", progress: report }));
      return run({ signal, log: (message) => say({ type: "log", message }), progress }).then(
        (result) => say({ type: "result", result }),
        (error: unknown) => say({ type: "error", error: plainError(error) }),
      );
    },
    close: () => stop.close(),
  };
}

/** Hands reports on, but of one phase no two within 50 ms, the last one excepted. */
export function sparseProgress(report: (progress: Progress) => void): (progress: Progress) => void {
  let [phase, last] = ["", 0];
  return (progress) => {
    const now = performance.now();
    if (progress.phase === phase && progress.done < progress.total && now - last < PROGRESS_EVERY_MS) return;
    [phase, last] = [progress.phase, now];
    report(progress);
  };
}

/**
 * An AbortSignal that fires when something arrives on the port.
 * Long work seldom gives its event loop a turn, so an "abort" event alone would come late: whoever reads `aborted` looks at the port first.
 */
function portSignal(port: MessagePort): AbortSignal {
  const controller = new AbortController();
  const stop = (): void => controller.abort(new Error("stop requested"));
  port.once("message", stop);
  port.unref();
  const { signal } = controller;
  const native = Object.getOwnPropertyDescriptor(AbortSignal.prototype, "aborted")!.get!;
  Object.defineProperty(signal, "aborted", {
    get: (): boolean => {
      if (!native.call(signal) && receiveMessageOnPort(port)) stop();
      return native.call(signal) as boolean;
    },
  });
  return signal;
}
