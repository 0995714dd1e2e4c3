import { LfmError } from "@lfm/core";
import { engineOf } from "../inputs/engine.js";
import { openSearch } from "../inputs/open-search.js";
import { baseWish } from "../inputs/quantized.js";
import type { JobContext, JobRequest, JobResult } from "../program/job.js";
import { requireKey } from "../serve/access.js";
import { openServed } from "../serve/open-served.js";
import { passageSource } from "../serve/passage-source.js";
import type { Served } from "../serve/served.js";
import { startServer } from "../serve/server.js";

export interface ServeRequest extends JobRequest {
  readonly model: readonly string[];
  readonly adapter?: readonly string[];
  readonly host: string;
  readonly port: number;
  readonly apiKey?: string;
  readonly slots: number;
  readonly queue: number;
  readonly maxTokens: number;
  /** Seconds that an answer may take. */
  readonly timeout: number;
  /** Bytes of a request. */
  readonly maxBody: number;
  /** Seconds that answers may go on when the server is stopped. */
  readonly drain: number;
  /** Folders of `lfm index`: chats are answered from what is found there. */
  readonly index?: string;
  readonly and?: string;
  readonly top: number;
  readonly budget: number;
}

/** `lfm serve`: answers over HTTP until it is stopped. */
export async function serve(request: ServeRequest, job: JobContext): Promise<JobResult> {
  const { host, port, apiKey, slots, queue, maxTokens, timeout, maxBody, drain, seed = 0 } = request;
  requireKey(host, apiKey);
  const engine = await engineOf(request);
  const served = await openServed(
    { models: request.model, adapters: request.adapter ?? [], slots, base: baseWish(request, "answers") },
    engine,
    job,
  );
  const { index, and, top, budget } = request;
  if (index === undefined && and !== undefined)
    throw new LfmError("CONFIG_INVALID", "lfm: --and is a second index", { hint: "--index DIR --and SECOND" });
  const search = index === undefined ? undefined : await openSearch({ index, ...(and === undefined ? {} : { and }) }, engine, job);
  const server = await startServer(served, {
    host,
    port,
    apiKey,
    limits: { slots, queue, maxTokens, timeoutMs: timeout * 1000, bodyBytes: maxBody },
    passages: search && passageSource(search, { top, budget }),
    drainMs: drain * 1000,
    seed,
    log: job.log,
  });
  const names = served.map((s) => s.id).join(", ");
  job.log(`${names} at ${server.url}${apiKey === undefined ? "" : " for who has the key"} (Ctrl-C stops)`);
  await stopped(job.signal);
  await server.close();
  await close(served);
  await search?.dispose();
  await engine.dispose();
  return { value: { url: server.url, models: served.map((s) => s.id) }, text: "stopped" };
}

function stopped(signal: AbortSignal | undefined): Promise<void> {
  return new Promise((resolve) => {
    if (signal?.aborted) resolve();
    else signal?.addEventListener("abort", () => resolve(), { once: true });
  });
}

async function close(served: readonly Served[]): Promise<void> {
  const generators = new Set(served.flatMap((s) => (s.kind === "language" ? [s.generator] : [])));
  for (const generator of generators) await generator.dispose();
  for (const s of served) if (s.kind === "encoder") await s.encoder.dispose();
}
