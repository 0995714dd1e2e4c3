import { createEngine, type Engine, type EngineName } from "@lfm/core";

/** The engine that a request names. */
export function engineOf(request: { readonly engine?: string; readonly threads?: number }): Promise<Engine> {
  return createEngine((request.engine ?? "auto") as EngineName | "auto", request.threads === undefined ? {} : { threads: request.threads });
}
