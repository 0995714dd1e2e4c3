import { type ApiError, asApiError } from "./api-error.js";

/** Bytes that wait for a client who reads slower than it is answered: with more it is left. */
const MOST_WAITING = 2 ** 20;

/** Server-sent events, each a JSON value. */
export interface Events {
  send(data: unknown): void;
}

/**
 * An answer as events, that begins with the first of them: until then an error is an answer of its own, after it the last event.
 * @param work sends the events; what it throws before the first is thrown
 * @param leave what ends the work when nobody reads any more
 * @param failed is told of errors that come as an event
 */
export async function eventStream(
  work: (events: Events) => Promise<void>,
  leave: () => void,
  failed: (error: ApiError) => void,
): Promise<Response> {
  const encoder = new TextEncoder();
  let begin = (): void => {};
  const begun = new Promise<void>((resolve) => {
    begin = resolve;
  });
  let to: ReadableStreamDefaultController<Uint8Array> | undefined;
  const body = new ReadableStream<Uint8Array>(
    {
      start: (controller) => {
        to = controller;
      },
      cancel: () => {
        to = undefined;
        leave();
      },
    },
    new ByteLengthQueuingStrategy({ highWaterMark: MOST_WAITING }),
  );
  const write = (text: string): void => {
    begin();
    if (!to) return;
    to.enqueue(encoder.encode(`data: ${text}\n\n`));
    if ((to.desiredSize ?? 0) > 0) return;
    to.error(new Error("the client does not read"));
    to = undefined;
    leave();
  };
  let opened = false;
  const done = work({ send: (data) => write(JSON.stringify(data)) }).then(
    () => {
      write("[DONE]");
      to?.close();
    },
    (error: unknown) => {
      if (!opened) throw error;
      const said = asApiError(error);
      failed(said);
      write(JSON.stringify(said.body));
      to?.close();
    },
  );
  await Promise.race([begun, done]);
  opened = true;
  return new Response(body, {
    headers: { "content-type": "text/event-stream; charset=utf-8", "cache-control": "no-cache", "x-accel-buffering": "no" },
  });
}
