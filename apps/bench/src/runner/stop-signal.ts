import { type MessagePort, receiveMessageOnPort } from "node:worker_threads";

/**
 * An AbortSignal that fires when something arrives on the port.
 * Long work of a worker seldom gives its event loop a turn, so an "abort" event alone would come late or never:
 * whoever reads `aborted` — every step does, through throwIfAborted — looks at the port first.
 */
export function stopSignal(port: MessagePort): AbortSignal {
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
