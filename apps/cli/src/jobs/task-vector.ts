import { LfmError } from "@lfm/core";
import { parseMergeConfig } from "@lfm/reuse";
import { stringify } from "yaml";
import type { JobContext, JobResult } from "../program/job.js";
import { type StreamRequest, streamMerge } from "./merge.js";

export interface TaskVectorRequest extends StreamRequest {
  readonly method: "add" | "negate" | "analogy";
  readonly base?: string;
  readonly model?: readonly string[];
  readonly from?: string;
  readonly to?: string;
  readonly applyTo?: string;
  /** One for all, or one per model. */
  readonly scale?: readonly number[];
}

/**
 * Algebra of task vectors (arXiv 2212.04089) over files: θ₀ + Σ sᵢ(θᵢ − θ₀), θ₀ − s(θ − θ₀), C + s(B − A). All three are task arithmetic,
 * the analogy on C as the base: s(B − C) − s(A − C).
 */
export function taskVector(request: TaskVectorRequest, job: JobContext): Promise<JobResult> {
  const { base, terms } = sumOf(request);
  const document = {
    merge_method: "task_arithmetic",
    base_model: base,
    models: terms.map(({ model, weight }) => ({ model, parameters: { weight } })),
    parameters: { lambda: 1, normalize: false },
  };
  return streamMerge(parseMergeConfig(stringify(document), { file: "the command line" }), { folder: "." }, request, job);
}

interface Sum {
  readonly base: string;
  readonly terms: readonly { readonly model: string; readonly weight: number }[];
}

/** @throws {LfmError} CONFIG_INVALID */
function sumOf({ method, base, model: models = [], from, to, applyTo, scale = [1] }: TaskVectorRequest): Sum {
  if (method === "analogy") {
    if (from === undefined || to === undefined || applyTo === undefined)
      throw new LfmError("CONFIG_INVALID", "lfm: an analogy takes three models: what A became as B, C becomes as well", {
        hint: "lfm task-vector analogy --from ./a --to ./b --apply-to ./c out",
      });
    if (from === to) throw new LfmError("CONFIG_INVALID", `lfm: from ${from} to itself nothing changes`);
    const s = single(scale, method);
    return {
      base: applyTo,
      terms: [
        { model: to, weight: s },
        { model: from, weight: -s },
      ],
    };
  }
  if (base === undefined || models.length === 0)
    throw new LfmError("CONFIG_INVALID", `lfm: ${method} takes a base and what was tuned from it`, {
      hint: `lfm task-vector ${method} --base ./base --model ./a${method === "add" ? " --model ./b" : ""} out`,
    });
  if (method === "negate") {
    if (models.length > 1) throw new LfmError("CONFIG_INVALID", "lfm: negate takes one model", { hint: "add several first, then negate" });
    return { base, terms: [{ model: models[0]!, weight: -single(scale, method) }] };
  }
  if (scale.length > 1 && scale.length !== models.length)
    throw new LfmError("CONFIG_INVALID", `lfm: --scale: ${scale.length} values for ${models.length} models`);
  return { base, terms: models.map((model, i) => ({ model, weight: scale.length === 1 ? scale[0]! : scale[i]! })) };
}

function single(scale: readonly number[], method: string): number {
  if (scale.length === 1) return scale[0]!;
  throw new LfmError("CONFIG_INVALID", `lfm: --scale: ${method} takes one value`);
}
