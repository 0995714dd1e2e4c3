import { join } from "node:path";
import { LfmError } from "@lfm/core";
import { isMissing } from "../files.js";
import { type DatasetLocation, datasetFolder, readFileOf } from "./folder.js";
import type { DatasetFile, DatasetKind, DatasetManifest, DatasetName } from "./manifest.js";
import { DATASET_NAMES, datasetManifest } from "./manifests.js";

export interface DatasetSummary {
  readonly name: DatasetName;
  readonly kind: DatasetKind;
  readonly title: string;
  readonly licence: string;
  /** Content of all files together. */
  readonly bytes: number;
}

/** The known sets, without a look at the disk. */
export function listDatasets(): readonly DatasetSummary[] {
  return DATASET_NAMES.map((name) => {
    const { kind, title, licence, files } = datasetManifest(name);
    return { name, kind, title, licence, bytes: files.reduce((sum, file) => sum + file.bytes, 0) };
  });
}

export type FileState = "ok" | "missing" | "changed";

export interface DatasetDescription extends DatasetManifest {
  readonly folder: string;
  /** One entry per file of the manifest, in its order; `changed`: not the pinned content. */
  readonly states: readonly { readonly path: string; readonly file: string; readonly state: FileState; readonly reason?: string }[];
  /** Every file that is not optional is there with the pinned content. */
  readonly complete: boolean;
}

/** The manifest of a set, and which of its files lie on this machine. @throws {LfmError} CONFIG_INVALID for an unknown name, FILE_IO */
export async function showDataset(name: string, location: DatasetLocation = {}): Promise<DatasetDescription> {
  return describeDataset(datasetManifest(name), location);
}

/** The same for any manifest. @throws {LfmError} FILE_IO */
export async function describeDataset(manifest: DatasetManifest, location: DatasetLocation): Promise<DatasetDescription> {
  const folder = datasetFolder(manifest.name, location);
  const states: DatasetDescription["states"][number][] = [];
  for (const file of manifest.files) {
    states.push({ path: file.path, file: join(folder, file.path), ...(await stateOf(manifest.name, file, location)) });
  }
  const complete = manifest.files.every((file, i) => file.optional || states[i]!.state === "ok");
  return { ...manifest, folder, states, complete };
}

async function stateOf(name: DatasetName, file: DatasetFile, location: DatasetLocation): Promise<{ state: FileState; reason?: string }> {
  try {
    await readFileOf(name, file, location);
    return { state: "ok" };
  } catch (error) {
    if (isMissing(error)) return { state: "missing" };
    if (error instanceof LfmError && error.code === "FILE_FORMAT") return { state: "changed", reason: error.message };
    throw error;
  }
}
