import { existsSync } from "node:fs";
import { join } from "node:path";
import {
  type Delta,
  type DeltaMember,
  type FileTensor,
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

export interface SaveDeltaOptions {
  /** Texts that travel with it in the header, beside its own; by names that begin with a letter. */
  readonly notes?: Readonly<Record<string, string>>;
}

const NOTE = "note.";

/** Saves a delta as one small safetensors file; method, options and the hash of its parent stand in the header. @throws {LfmError} FILE_IO */
export async function saveDelta(folder: string, delta: Delta, { notes = {} }: SaveDeltaOptions = {}): Promise<string> {
  const path = join(folder, FILE);
  const metadata = {
    ...Object.fromEntries(Object.entries(notes).map(([name, text]) => [NOTE + name, text])),
    format: FORMAT,
    method: delta.method,
    config: JSON.stringify(delta.config),
    ...(delta.parent === null ? {} : { parent: delta.parent }),
    ...(delta.members.length === 0 ? {} : { members: JSON.stringify(delta.members) }),
  };
  await writeSafetensors(path, delta.tensors, { metadata });
  return path;
}

/** What the header of a delta's file says of it. */
export interface DeltaHeader {
  readonly path: string;
  readonly method: string;
  readonly config: Readonly<Record<string, unknown>>;
  /** Hash of the model that it was made on; null where it was not taken. */
  readonly parent: string | null;
  readonly members: readonly DeltaMember[];
  /** What was saved with it: {@link SaveDeltaOptions}. */
  readonly notes: Readonly<Record<string, string>>;
  /** Nothing of them is read yet. */
  readonly tensors: Readonly<Record<string, FileTensor>>;
}

/** Whether a folder holds what {@link saveDelta} wrote. */
export function isDeltaFolder(folder: string): boolean {
  return existsSync(join(folder, FILE));
}

/**
 * Reads what a delta's file says of it, and none of its values.
 * @param folder of the delta, or its file
 * @throws {LfmError} FILE_IO, FILE_FORMAT
 */
export function readDeltaHeader(folder: string): DeltaHeader {
  const path = isDeltaFolder(folder) ? join(folder, FILE) : folder;
  const { metadata, tensors } = readSafetensors(path);
  const { format, method, config, parent = null, members } = metadata;
  if (format !== FORMAT || !method || !config)
    throw new LfmError("FILE_FORMAT", `[@lfm/formats] ${path} is no delta of lfm`, {
      hint: "for an adapter of PEFT use readPeftAdapter",
    });
  const notes = Object.entries(metadata).flatMap(([name, text]) =>
    name.startsWith(NOTE) ? [[name.slice(NOTE.length), text] as const] : [],
  );
  return {
    path,
    method,
    config: parseOptions(path, config),
    parent,
    members: readMembers(path, members),
    notes: Object.fromEntries(notes),
    tensors,
  };
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
  const { path, method: name, config, parent, members, tensors } = readDeltaHeader(folder);
  if (options.parentHash !== undefined && parent !== null && parent !== options.parentHash) {
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
    return makeDelta(method, parseConfig(method, member.config), own, { parent, members });
  };
  const own = Object.fromEntries(Object.entries(loaded).filter(([key]) => !isMemberTensor(key)));
  return make(
    { method: name, config },
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
