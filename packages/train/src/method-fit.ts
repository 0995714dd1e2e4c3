import type { MethodContext } from "@lfm/core";
import type { FitOptions } from "./fit.js";

type FromContext = Pick<FitOptions, "engine" | "rng" | "signal" | "progress" | "phase" | "checkpoint">;

/** What a fit takes from the context of the method it runs in: engine, random stream, stop signal, progress and checkpoint of this phase. */
export function fitContext(context: MethodContext, phase: string): FromContext {
  return {
    engine: context.engine,
    rng: context.rng.split("fit"),
    progress: (p) => context.progress(p),
    phase,
    ...(context.signal ? { signal: context.signal } : {}),
    ...(context.checkpoint ? { checkpoint: context.checkpoint(phase) } : {}),
  };
}
