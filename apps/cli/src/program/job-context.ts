import type { MethodContext } from "@lfm/core";
import { needs, Rng } from "@lfm/core";
import { engineOf } from "../inputs/engine.js";

import type { JobContext, JobRequest } from "./job.js";

/** The context of a method that runs in this job; everything of the model is open. */
export async function methodContext(request: JobRequest, context: JobContext): Promise<MethodContext> {
  return {
    engine: await engineOf(request),
    rng: new Rng(request.seed ?? 0),
    access: needs,
    ...(context.signal ? { signal: context.signal } : {}),
    log: (message) => context.log(message),
    progress: (progress) => context.progress(progress),
  };
}
