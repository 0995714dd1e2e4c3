/** A stop signal that fires on the first Ctrl-C; the second ends the process at once. */
export interface StopListener {
  readonly signal: AbortSignal;
  /** Gives Ctrl-C back to the process. */
  end(): void;
}

export function listenForStop(onFirst: () => void): StopListener {
  const controller = new AbortController();
  const onSignal = (): void => {
    if (controller.signal.aborted) process.exit(130);
    onFirst();
    controller.abort(new Error("Ctrl-C"));
  };
  process.on("SIGINT", onSignal);
  process.on("SIGTERM", onSignal);
  return {
    signal: controller.signal,
    end: () => {
      process.off("SIGINT", onSignal);
      process.off("SIGTERM", onSignal);
    },
  };
}
