import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { getRequestListener } from "@hono/node-server";
import { LfmError, Rng } from "@lfm/core";
import { requireKey } from "./access.js";
import { asApiError } from "./api-error.js";
import { apiOf } from "./app.js";
import { Metrics } from "./metrics.js";
import type { PassageSource } from "./passage-source.js";
import type { Served } from "./served.js";
import type { Limits, Serving } from "./serving.js";

export interface ServerOptions {
  readonly host: string;
  /** 0 takes a free one. */
  readonly port: number;
  /** Undefined on a loopback address lets in whoever is on this machine. */
  readonly apiKey: string | undefined;
  readonly limits: Limits;
  /** What chats are answered from. */
  readonly passages?: PassageSource | undefined;
  /** How long answers that are under way may go on after {@link RunningServer.close}. */
  readonly drainMs: number;
  /** Of requests that name none. */
  readonly seed: number;
  /** Errors that are no client's fault. */
  readonly log: (message: string) => void;
}

export interface RunningServer {
  /** Where clients find it, with /v1. */
  readonly url: string;
  /** Takes nothing new, lets what is under way end (for a while), and closes. */
  close(): Promise<void>;
}

/** How long a request may take to arrive. */
const ARRIVAL_MS = 30_000;
/** Requests that are answered one after the other on a connection wait so long for the next. */
const IDLE_MS = 60_000;
/** How long answers have to say that the server ended them. */
const LAST_WORD_MS = 2000;

/** @throws {LfmError} CONFIG_INVALID for an address that others reach without a key, FILE_IO for one that cannot be taken */
export async function startServer(served: readonly Served[], options: ServerOptions): Promise<RunningServer> {
  const { host, port, apiKey, limits, drainMs } = options;
  requireKey(host, apiKey);
  const [end, rng, open] = [new AbortController(), new Rng(options.seed), new Set<Promise<void>>()];
  let [asked, closing]: [number, Promise<void> | undefined] = [0, undefined];
  const serving: Serving = {
    served,
    limits,
    metrics: new Metrics(served),
    passages: options.passages,
    end: end.signal,
    nextRng: () => rng.split(asked++),
    now: () => Math.floor(Date.now() / 1000),
    failed: (error) => {
      const { cause, message } = asApiError(error);
      options.log(cause instanceof Error ? (cause.stack ?? cause.message) : message);
    },
  };
  const app = apiOf(serving, {
    apiKey,
    closing: () => closing !== undefined,
    onRequest: (ended) => {
      open.add(ended);
      void ended.then(() => open.delete(ended));
    },
  });
  const server = createServer(
    { requestTimeout: ARRIVAL_MS, keepAliveTimeout: IDLE_MS },
    getRequestListener(app.fetch, { overrideGlobalObjects: false }),
  );
  await listen(server, host, port);
  const { port: taken } = server.address() as AddressInfo;
  const close = async (): Promise<void> => {
    // Who comes now is told so, until the last answer has ended.
    await within(drainMs, () => Promise.all(open));
    end.abort();
    await within(LAST_WORD_MS, () => Promise.all(open));
    const closed = new Promise<void>((resolve) => server.close(() => resolve()));
    await within(LAST_WORD_MS, () => closed);
    server.closeAllConnections();
    await closed;
  };
  return {
    url: `http://${host.includes(":") && !host.startsWith("[") ? `[${host}]` : host}:${taken}/v1`,
    close: () => (closing ??= close()),
  };
}

/** @throws {LfmError} FILE_IO */
function listen(server: Server, host: string, port: number): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once("error", (cause: NodeJS.ErrnoException) => {
      const taken = cause.code === "EADDRINUSE";
      reject(
        new LfmError("FILE_IO", `lfm: cannot listen on ${host}:${port}${taken ? ": another program does" : ` (${cause.code})`}`, {
          hint: taken ? "give another --port, or --port 0 for a free one" : "give an address of this machine: --host 127.0.0.1",
          cause,
        }),
      );
    });
    server.listen(port, host.replace(/^\[|\]$/g, ""), () => resolve());
  });
}

/** Waits for something, but no longer than that. */
async function within(ms: number, done: () => Promise<unknown>): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<void>((resolve) => {
    timer = setTimeout(resolve, ms);
  });
  await Promise.race([done(), late]);
  clearTimeout(timer);
}
