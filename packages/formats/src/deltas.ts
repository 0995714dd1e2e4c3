import { existsSync } from "node:fs";
import { join } from "node:path";
import {
  type Delta,
  type DeltaMember,
  type HostTensor,
  isMemberTensor,
  LfmError,
  loadWeight,
  makeDelta,
  ofPlace,
  parseConfig,
  type Registry,
} from "@lfm/core";
import { z } from "zod";
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
    config: JSON.stringify(delta.config),
    ...(delta.parent === null ? {} : { parent: delta.parent }),
    ...(delta.members.length === 0 ? {} : { members: JSON.stringify(delta.members) }),
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
  const { method: name, config: text, parent } = metadata;
  if (metadata.format !== FORMAT || !name || !text) {
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
  const loaded: Record<string, HostTensor> = Object.fromEntries(Object.entries(tensors).map(([k, t]) => [k, loadWeight(t)]));
  const make = (member: DeltaMember, own: Record<string, HostTensor>, members: readonly Delta[]): Delta => {
    const method = registry.get(member.method);
    return makeDelta(method, parseConfig(method, member.config), own, { parent: parent ?? null, members });
  };
  const members = readMembers(path, metadata.members);
  const own = Object.fromEntries(Object.entries(loaded).filter(([key]) => !isMemberTensor(key)));
  return make(
    { method: name, config: parseOptions(path, text) },
    own,
    members.map((member, place) => make(member, ofPlace(loaded, place), [])),
  );
}

const memberList = z.array(z.strictObject({ method: z.string(), config: z.record(z.string(), z.unknown()) }));

/** @throws {LfmError} FILE_FORMAT */
function readMembers(path: string, text: string | undefined): readonly DeltaMember[] {
  if (text === undefined) return [];
  const parsed = memberList.safeParse(parseJson(path, text));
  if (parsed.success) return parsed.data;
  throw new LfmError("FILE_FORMAT", `[@lfm/formats] ${path}: what it is composed of is not readable: ${z.prettifyError(parsed.error)}`);
}

/** @throws {LfmError} FILE_FORMAT */
function parseOptions(path: string, text: string): Record<string, unknown> {
  const parsed = z.record(z.string(), z.unknown()).safeParse(parseJson(path, text));
  if (parsed.success) return parsed.data;
  throw new LfmError("FILE_FORMAT", `[@lfm/formats] ${path}: its options are no object`);
}

function parseJson(path: string, text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw new LfmError("FILE_FORMAT", `[@lfm/formats] ${path}: its options are not JSON`, { cause });
  }
}
