import { realpathSync, statSync } from "node:fs";
import { isAbsolute, resolve } from "node:path";
import { LfmError } from "@lfm/core";
import type { MultiplyOut, ResolveModel } from "@lfm/reuse";
import type { JobContext } from "../program/job.js";
import { type MergeScratch, stateOfFolders } from "./merge-scratch.js";

/**
 * Finds the models of a merge file: stages of the same file, `zoo-lm`, folders, repositories of the hub. A path begins where lfm was called,
 * as mergekit has it, or at the file's own folder, so that a file and its models can be moved together.
 * @param stages name → folder, filled while they are merged
 * @param folder the merge file's
 */
export function modelResolver(stages: ReadonlyMap<string, string>, folder: string, scratch: MergeScratch, job: JobContext): ResolveModel {
  return async (name, revision) => {
    const stage = stages.get(name);
    if (stage !== undefined) return stage;
    if (name === "zoo-lm") return zooFolder(scratch);
    const local = localFolder(name, folder);
    if (local !== undefined) return local;
    if (!/^[\w-][\w.-]*\/[\w.-]+$/.test(name)) return undefined;
    const { pullModel } = await import("@lfm/formats");
    return pullModel(name, {
      progress: (p) => job.progress(p),
      ...(revision === undefined ? {} : { revision }),
      ...(job.signal ? { signal: job.signal } : {}),
    });
  };
}

/** Multiplies a delta that no stream merges into a model's weights; on going on with a merge what was made before is taken. */
export function multiplier(scratch: MergeScratch, job: JobContext): MultiplyOut {
  return async (model, delta) => {
    const place = scratch.made(`${resolve(model)}+${resolve(delta)}`);
    const state = stateOfFolders([model, delta]);
    if (place.isMade(state)) return place.folder;
    const { openMultiplied } = await import("../inputs/models.js");
    const { saveWhole } = await import("../outputs/save-found.js");
    await saveWhole(place.folder, await openMultiplied(model, [delta], job));
    place.noteMade(state);
    return place.folder;
  };
}

async function zooFolder(scratch: MergeScratch): Promise<string> {
  const place = scratch.made("zoo-lm");
  if (place.isMade("zoo-lm")) return place.folder;
  await (await import("../inputs/zoo-folder.js")).copyZoo(place.folder);
  place.noteMade("zoo-lm");
  return place.folder;
}

/** @throws {LfmError} CONFIG_INVALID where the name means one folder here and another beside the file */
function localFolder(name: string, folder: string): string | undefined {
  const places = isAbsolute(name) ? [name] : [resolve(name), resolve(folder, name)];
  const found = [...new Map(places.filter(isFolder).map((place) => [realpathSync(place), place])).values()];
  if (found.length < 2) return found[0];
  throw new LfmError("CONFIG_INVALID", `lfm: model "${name}" is ${found[0]}, where lfm was called, or ${found[1]}, beside the merge file`, {
    hint: `write the whole path of the one that is meant: model: ${found[1]}`,
  });
}

function isFolder(path: string): boolean {
  try {
    return statSync(path).isDirectory();
  } catch {
    // whatever cannot be looked at is no model
    return false;
  }
}
