import { existsSync } from "node:fs";
import { join } from "node:path";
import { type Delta, type HostTensor, LfmError, loadWeight, parseConfig, type Registry } from "@lfm/core";
import { readSafetensors } from "./safetensors/read.js";
import { writeSafetensors } from "./safetensors/write.js";

const FILE = "delta.safetensors";
const FORMAT = "lfm-delta";

/** Saves a delta as one small safetensors file; method, options and the hash of its parent stand in the header. @throws {LfmError} FILE_IO */
export async function saveDelta(folder: string, delta: Delta): Promise<string> {
  const path = join(folder, FILE);
  const metadata = {
    format: FORMAT,
    method: delta.method,
    kind: delta.kind,
    config: JSON.stringify(delta.config),
    ...(delta.parent === null ? {} : { parent: delta.parent }),
  };
  await writeSafetensors(path, delta.tensors, { metadata });
  return path;
}

export interface LoadDeltaOptions {
  /** Hash of the model that it shall lie on; a delta of another parent is refused. */
  readonly parentHash?: string;
}

/**
 * Loads a delta that {@link saveDelta} wrote; the registry knows what its method puts into the forward pass.
 * @throws {LfmError} FILE_IO, FILE_FORMAT; CONFIG_INVALID for an unknown method; PARENT_MISMATCH when it was made on another model
 */
export async function loadDelta(folder: string, registry: Registry, options: LoadDeltaOptions = {}): Promise<Delta> {
  const path = existsSync(join(folder, FILE)) ? join(folder, FILE) : folder;
  const { metadata, tensors } = readSafetensors(path);
  const { method: name, kind, config: text, parent } = metadata;
  if (metadata.format !== FORMAT || !name || !text || (kind !== "weights" && kind !== "input" && kind !== "output")) {
    throw new LfmError("FILE_FORMAT", `[@lfm/formats] ${path} is no delta of lfm`, {
      hint: "for an adapter of PEFT use readPeftAdapter",
    });
  }
  if (options.parentHash !== undefined && parent !== undefined && parent !== options.parentHash) {
    throw new LfmError(
      "PARENT_MISMATCH",
      `[@lfm/formats] ${path} was made on another model (${parent.slice(0, 12)}…, not ${options.parentHash.slice(0, 12)}…)`,
      {
        hint: "give the model that it was made on",
        details: { parent, given: options.parentHash },
      },
    );
  }
  const [paradigm, id] = name.split("/");
  const method = registry.get(id ?? name, paradigm as never);
  if (!method.hooksFor) throw new LfmError("CONFIG_INVALID", `[@lfm/formats] ${path}: ${name} learns no deltas`);
  const config = parseConfig(method as never, parseJson(path, text)) as Record<string, unknown>;
  const loaded: Record<string, HostTensor> = Object.fromEntries(Object.entries(tensors).map(([k, t]) => [k, loadWeight(t)]));
  return { kind, method: name, config, parent: parent ?? null, tensors: loaded, hooks: method.hooksFor(config) };
}

function parseJson(path: string, text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw new LfmError("FILE_FORMAT", `[@lfm/formats] ${path}: its options are not JSON`, { cause });
  }
}
