import type { Rng } from "@lfm/core";
import type { Capacity } from "./admission.js";
import { tookTooLong } from "./api-error.js";
import type { Metrics } from "./metrics.js";
import type { PassageSource } from "./passage-source.js";
import type { Served } from "./served.js";

export interface Limits extends Capacity {
  /** New tokens of one answer. */
  readonly maxTokens: number;
  readonly timeoutMs: number;
  readonly bodyBytes: number;
}

/** What the routes have in common. */
export interface Serving {
  readonly served: readonly Served[];
  readonly limits: Limits;
  readonly metrics: Metrics;
  /** What chats are answered from; undefined where models answer alone. */
  readonly passages: PassageSource | undefined;
  /** Ends what is under way when the server has waited long enough for it. */
  readonly end: AbortSignal;
  /** Randomness of a request that names no seed: another one each time. */
  nextRng(): Rng;
  /** In seconds since 1970. */
  now(): number;
  /** Says what went wrong on this side. */
  failed(error: unknown): void;
}

/** One request that is being answered. */
export interface Exchange {
  readonly body: unknown;
  /** Fires when the client is gone. */
  readonly gone: AbortController;
}

/**
 * Runs the work of one request, which ends when the client goes, when the server does, or when it took too long.
 * @throws {ApiError} 504
 */
export async function inTime<T>({ limits, end }: Serving, { gone }: Exchange, work: (signal: AbortSignal) => Promise<T>): Promise<T> {
  const late = AbortSignal.timeout(limits.timeoutMs);
  try {
    return await work(AbortSignal.any([gone.signal, late, end]));
  } catch (error) {
    throw late.aborted && !gone.signal.aborted && !end.aborted ? tookTooLong(limits.timeoutMs) : error;
  }
}
