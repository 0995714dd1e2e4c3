/** Folders of adapters that other libraries wrote, told apart by what lies in them. */
import { existsSync } from "node:fs";
import { join } from "node:path";
import { type Delta, LfmError, type Model } from "@lfm/core";
import { isHubAdapter, isHubFusion, isHubSetup } from "@lfm/formats";
import { fromAdapterHub, hasHubForm, type ToAdapterHubOptions, toAdapterHub } from "./adapter-hub.js";
import { fromHubSetup, membersOf, toHubSetup } from "./adapter-hub-fusion.js";
import { adapterFusion } from "./methods/adapter-fusion.js";
import { fromPeft } from "./peft.js";

/** Whether a folder is one of an adapter that PEFT or the library `adapters` wrote. */
export function isAdapterFolder(folder: string): boolean {
  return existsSync(join(folder, "adapter_config.json")) || isHubSetup(folder) || isHubFusion(folder);
}

/**
 * The delta of an adapter: PEFT and `adapters` name their file of options alike, and say different things in it.
 * @throws {LfmError} as {@link fromPeft} and {@link fromAdapterHub}
 */
export function fromAdapterFolder(folder: string, model: Model): Delta {
  if (isHubSetup(folder)) return fromHubSetup(folder, model);
  if (isHubFusion(folder))
    throw new LfmError("CONFIG_INVALID", `[@lfm/tuning] ${folder} is a fusion without the adapters that it fuses`, {
      hint: "give the folder around it: in Python, model.save_adapter_setup(folder, Fuse(…), use_safetensors=True) writes all of it",
    });
  return isHubAdapter(folder) ? fromAdapterHub(folder, model) : fromPeft(folder, model);
}

/** Whether {@link toHubFolder} has a form for a delta on this model. */
export function hasHubFolder(delta: Delta, model: Model): boolean {
  return isFusion(delta) ? membersOf(delta).every((member) => hasHubForm(member, model)) : hasHubForm(delta, model);
}

/**
 * Saves a delta in the form of the library `adapters`: `model.load_adapter(folder)` loads it, of a fusion `model.load_adapter_setup(folder)`.
 * @throws {LfmError} CONFIG_INVALID for a delta that has no form there; FILE_IO
 */
export async function toHubFolder(folder: string, delta: Delta, model: Model, options: ToAdapterHubOptions): Promise<void> {
  if (!hasHubFolder(delta, model))
    throw new LfmError(
      "CONFIG_INVALID",
      `[@lfm/tuning] ${delta.method} on ${model.info.architecture} has no form in the library adapters`,
      {
        hint: "bottleneck, compacter and adapter-fusion have, with a head at most beside them",
      },
    );
  await (isFusion(delta) ? toHubSetup(folder, delta, model, options) : toAdapterHub(folder, delta, model, options));
}

function isFusion(delta: Delta): boolean {
  return delta.method === `${adapterFusion.paradigm}/${adapterFusion.id}`;
}
