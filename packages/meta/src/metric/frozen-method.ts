/** Baselines: heads that are fitted on the support of an episode, over features that nothing is learned of. */
import { type MethodContext, throwIfAborted } from "@lfm/core";
import type { Learned } from "../define-meta-method.js";
import { normOption } from "../statistics-of.js";

export const frozenOptions = { norm: normOption("none") };

/** Nothing is learned before an episode comes. @throws {LfmError} ABORTED */
export async function nothingLearned(_inputs: unknown, _config: unknown, { signal }: MethodContext): Promise<Learned> {
  throwIfAborted(signal, "[@lfm/meta] a head over frozen features");
  return { tensors: {}, curves: {} };
}
