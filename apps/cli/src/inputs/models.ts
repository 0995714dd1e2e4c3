import { existsSync } from "node:fs";
import { join } from "node:path";
import { createEngine, type Delta, type Engine, type EngineName, LfmError, type Model, withDeltas } from "@lfm/core";
import type { Tokenizer } from "@lfm/formats";
import { loadDelta, pullModel } from "@lfm/formats";
import { loadModel } from "@lfm/models";
import { loadZoo, zooTokenizer } from "@lfm/models/zoo";
import { fromPeft } from "@lfm/tuning";
import type { JobContext } from "../jobs/context.js";
import { loadRegistry } from "../paradigms.js";

export interface NamedModel {
  readonly name: string;
  readonly model: Model;
  readonly tokenizer: Tokenizer | undefined;
  /** Hash of the weights: the parent that a delta records. */
  readonly hash: string;
  /** Deltas on it, in their order. */
  readonly deltas: readonly Delta[];
}

/**
 * `zoo-lm`, a folder with config.json and safetensors, or a repository of the hub.
 * @throws {LfmError} CONFIG_INVALID for a name that is none of these; FILE_FORMAT; PARENT_MISMATCH for a delta of another model
 */
export async function resolveModel(name: string, deltaFolders: readonly string[], context: JobContext): Promise<NamedModel> {
  const base = await resolveBase(name, context);
  if (deltaFolders.length === 0) return { ...base, deltas: [] };
  const registry = await loadRegistry();
  const deltas: Delta[] = [];
  for (const folder of deltaFolders) {
    const own = existsSync(join(folder, "delta.safetensors"));
    const peft = !own && existsSync(join(folder, "adapter_config.json"));
    deltas.push(peft ? fromPeft(folder, base.model) : await loadDelta(folder, registry, { parentHash: base.hash }));
  }
  return { ...base, model: withDeltas(base.model, deltas), deltas };
}

async function resolveBase(name: string, context: JobContext): Promise<Omit<NamedModel, "deltas">> {
  if (name === "zoo-lm") {
    const zoo = await loadZoo();
    return { name, model: zoo.lm, tokenizer: zooTokenizer(zoo.world), hash: zoo.lmHash };
  }
  if (existsSync(join(name, "config.json"))) return loadFolder(name, name);
  if (existsSync(name)) throw new LfmError("FILE_FORMAT", `lfm: ${name} is no model folder: it has no config.json`);
  if (!/^[\w.-]+\/[\w.-]+$/.test(name)) {
    throw new LfmError("CONFIG_INVALID", `lfm: no model "${name}"`, {
      hint: "give zoo-lm, a folder with config.json and *.safetensors, or org/name on the hub",
    });
  }
  return loadFolder(
    name,
    await pullModel(name, { progress: (p) => context.progress(p), ...(context.signal ? { signal: context.signal } : {}) }),
  );
}

async function loadFolder(name: string, folder: string): Promise<Omit<NamedModel, "deltas">> {
  const { model, tokenizer, hash } = await loadModel(folder);
  return { name, model, tokenizer, hash: await hash() };
}

/** @throws {LfmError} CAPABILITY_MISSING */
export function requireTokenizer(m: Pick<NamedModel, "name" | "tokenizer">): Tokenizer {
  if (m.tokenizer) return m.tokenizer;
  throw new LfmError("CAPABILITY_MISSING", `lfm: ${m.name} comes without a tokenizer`, { hint: "put its tokenizer.json into the folder" });
}

export function engineOf(request: { readonly engine?: string; readonly threads?: number }): Promise<Engine> {
  return createEngine((request.engine ?? "auto") as EngineName | "auto", request.threads === undefined ? {} : { threads: request.threads });
}
