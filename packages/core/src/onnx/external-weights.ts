import { realpathSync } from "node:fs";
import { basename, dirname } from "node:path";
import { LfmError } from "../errors.js";
import type { Weight } from "../model.js";
import type { WeightLocation } from "./builder.js";

/** Where ONNX Runtime finds weights that stay in their files. */
export interface ExternalWeights {
  /** The one folder that it is allowed to read from; undefined when no weight lies in a file. */
  readonly folder: string | undefined;
  /** Place of a weight inside the folder; undefined for one that must be copied into the model. */
  locate(weight: Weight): WeightLocation | undefined;
}

/**
 * ONNX Runtime reads external data from one folder and refuses absolute paths, as well as links that leave it. So links are resolved first
 * (the hub's cache is made of them), and where weights lie in several folders the one with most bytes is read in place, the rest copied.
 * @throws {LfmError} FILE_IO when a file is gone
 */
export function externalWeights(weights: readonly Weight[]): ExternalWeights {
  const resolved = new Map<string, string>();
  const bytes = new Map<string, number>();
  for (const weight of weights) {
    if (!("file" in weight)) continue;
    const { path } = weight.file;
    if (!resolved.has(path)) resolved.set(path, realPath(path));
    const folder = dirname(resolved.get(path)!);
    bytes.set(folder, (bytes.get(folder) ?? 0) + weight.file.bytes);
  }
  const [folder] = [...bytes].sort(([, a], [, b]) => b - a)[0] ?? [];
  return {
    folder,
    locate: (weight) => {
      const real = "file" in weight ? resolved.get(weight.file.path) : undefined;
      if (!("file" in weight) || real === undefined || dirname(real) !== folder) return undefined;
      return { file: basename(real), offset: weight.file.offset, bytes: weight.file.bytes };
    },
  };
}

function realPath(path: string): string {
  try {
    return realpathSync(path);
  } catch (cause) {
    throw new LfmError("FILE_IO", `[@lfm/core] the weight file ${path} cannot be read`, { cause });
  }
}
