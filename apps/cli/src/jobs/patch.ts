import { LfmError } from "@lfm/core";
import { comparePatches } from "../patches/compare.js";
import { listPatches, showPatch } from "../patches/list.js";
import { mergePatches } from "../patches/merge.js";
import { applyPatches, revertPatch } from "../patches/restack.js";
import type { JobContext, JobRequest, JobResult } from "../program/job.js";

/** What each action reads of its command. */
export interface PatchRequest extends JobRequest {
  readonly action: "ls" | "show" | "apply" | "revert" | "merge" | "diff";
  readonly paths?: readonly string[];
  readonly patch?: string;
  readonly patches?: readonly string[];
  readonly stack?: string;
  readonly first?: string;
  readonly second?: string;
  readonly model?: string;
  readonly overwrite?: boolean;
  readonly dtype?: "f32" | "bf16" | "f16";
}

/** `lfm patch ls|show|apply|revert|merge|diff`. */
export async function patch(request: PatchRequest, job: JobContext): Promise<JobResult> {
  const { action, paths = [], patches = [], model } = request;
  if (action === "ls") return listPatches(paths.length > 0 ? paths : ["."]);
  if (action === "show") return showPatch(request.patch!);
  if (action === "apply") return applyPatches({ stack: request.stack!, patches, ...(model === undefined ? {} : { model }) }, job);
  if (action === "revert") return revertPatch(request.stack!, request.patch);
  if (action === "diff") return comparePatches(request.first!, request.second!, request, job);
  if (model !== undefined) return mergePatches({ ...request, model, patches, out: request.out! }, job);
  throw new LfmError("CONFIG_INVALID", "lfm: --model is not given: the model that the patches were made on", {
    hint: `lfm patch merge ${patches.join(" ")} --model MODEL`,
  });
}
