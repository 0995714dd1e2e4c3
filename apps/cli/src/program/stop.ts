/** A stop signal that fires on the first Ctrl-C or SIGTERM; the second ends the process at once. */
export interface StopListener {
  readonly signal: AbortSignal;
  /** Gives both back to the process. */
  end(): void;
}

/** How long SIGTERM leaves a job to save itself: whoever sends it sends SIGKILL next. What jobs write, they write so that either is safe. */
const GRACE_MS = 1500;

/** @param graceMs how long SIGTERM leaves it */
export function listenForStop(onFirst: () => void, graceMs: number = GRACE_MS): StopListener {
  const controller = new AbortController();
  let deadline: NodeJS.Timeout | undefined;
  const stop = (why: string): void => {
    if (controller.signal.aborted) process.exit(130);
    onFirst();
    controller.abort(new Error(why));
  };
  const onInterrupt = (): void => stop("Ctrl-C");
  const onTerminate = (): void => {
    // By the signal itself, as without a listener: exiting would wait for threads, and those of ONNX Runtime abort then.
    deadline ??= setTimeout(() => {
      end();
      process.kill(process.pid, "SIGTERM");
    }, graceMs).unref();
    stop("SIGTERM");
  };
  const end = (): void => {
    clearTimeout(deadline);
    process.off("SIGINT", onInterrupt);
    process.off("SIGTERM", onTerminate);
  };
  process.on("SIGINT", onInterrupt);
  process.on("SIGTERM", onTerminate);
  return { signal: controller.signal, end };
}
