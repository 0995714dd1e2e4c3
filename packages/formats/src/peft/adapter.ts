import { existsSync } from "node:fs";
import { join } from "node:path";
import { type FileTensor, type HostTensor, LfmError, loadWeight, widenToF32 } from "@lfm/core";
import { readJsonObject } from "../json-file.js";
import { namedRecord } from "../named-record.js";
import { readSafetensors } from "../safetensors/read.js";
import { writeSafetensors } from "../safetensors/write.js";
import { writeTextFile } from "../whole-file.js";
import { isPromptLearning, type PeftConfig, type PeftConfigInput, parsePeftConfig, storedPeftConfig } from "./config.js";
import { adapterName, oneAdapter } from "./tensor-names.js";

const CONFIG = "adapter_config.json";
const WEIGHTS = "adapter_model.safetensors";

export interface PeftAdapter<T = HostTensor> {
  readonly config: PeftConfig;
  /**
   * By the module's path and the tensor's name: `model.layers.0.self_attn.q_proj.lora_A.weight`, `prompt_embeddings`;
   * parameters that were trained in full (`modules_to_save`, biases) under their checkpoint names, `classifier.weight`.
   */
  readonly tensors: Readonly<Record<string, T>>;
}

export interface ReadPeftOptions {
  /** Tensors as they lie in the file; default widened to f32, as PEFT trains adapters. */
  readonly keepDtype?: boolean;
}

/**
 * Reads the adapter that PEFT saved in a folder.
 * @throws {LfmError} FILE_IO when a file is missing; FILE_FORMAT naming file and key; OP_UNSUPPORTED for a kind that is not known
 */
export function readPeftAdapter(folder: string, options: ReadPeftOptions = {}): PeftAdapter {
  const { config, tensors } = openPeftAdapter(folder);
  const read = (t: FileTensor): HostTensor => (options.keepDtype ? loadWeight(t) : widenFloats(loadWeight(t)));
  const out = namedRecord<HostTensor>();
  for (const [name, t] of Object.entries(tensors)) out[name] = read(t);
  return { config, tensors: out };
}

/**
 * The same with the tensors left in their file: config and header are read, no tensor.
 * @throws {LfmError} FILE_IO when a file is missing; FILE_FORMAT naming file and key; OP_UNSUPPORTED for a kind that is not known
 */
export function openPeftAdapter(folder: string): PeftAdapter<FileTensor> {
  const path = join(folder, CONFIG);
  if (!existsSync(path)) throw new LfmError("FILE_IO", `[@lfm/formats] ${folder} has no ${CONFIG}: it is no PEFT adapter`);
  const config = parsePeftConfig(path, readJsonObject(path));
  const file = join(folder, WEIGHTS);
  if (!existsSync(file))
    throw new LfmError("FILE_IO", `[@lfm/formats] ${folder} has no ${WEIGHTS}`, {
      ...(existsSync(join(folder, "adapter_model.bin"))
        ? { hint: "pickled adapters can run code and are not read; load and save it once with a newer PEFT" }
        : {}),
    });
  return { config, tensors: namedTensors(file, config) };
}

/** @throws {LfmError} FILE_FORMAT for two tensors of one meaning, OP_UNSUPPORTED for several adapters in one file */
function namedTensors(file: string, config: PeftConfig): Record<string, FileTensor> {
  const tensors = namedRecord<FileTensor>();
  const adapters = new Set<string>();
  for (const [key, t] of Object.entries(readSafetensors(file).tensors)) {
    const { name, adapter, original } = adapterName(withoutPrefix(key, config));
    if (original) continue;
    if (adapter !== undefined) adapters.add(adapter);
    // With bias: "all" PEFT writes the bias of a module that was trained in full twice.
    if (tensors[name] && !isSame(tensors[name], t)) throw new LfmError("FILE_FORMAT", `[@lfm/formats] ${file}: two tensors mean "${name}"`);
    tensors[name] = t;
  }
  oneAdapter(file, adapters);
  return tensors;
}

function isSame(a: FileTensor, b: FileTensor): boolean {
  if (a.dtype !== b.dtype || a.shape.join() !== b.shape.join()) return false;
  const [x, y] = [a.read().data, b.read().data];
  return x.every((v, i) => Object.is(v, y[i]));
}

function widenFloats(t: HostTensor): HostTensor {
  return t.dtype === "bf16" || t.dtype === "f16" || t.dtype === "f64" ? widenToF32(t) : t;
}

/** Prompt methods hold the model itself; the others hold a tuner that holds the model. */
const prefixOf = (config: PeftConfig): string => (isPromptLearning(config) ? "base_model." : "base_model.model.");

/** Tensors of the tuner itself, one for all layers (VeRA's projections), have no path within the model. */
const TUNER_PREFIX = "base_model.";

function withoutPrefix(key: string, config: PeftConfig): string {
  const prefix = prefixOf(config);
  if (key.startsWith(prefix)) return key.slice(prefix.length);
  return key;
}

function withPrefix(name: string, config: PeftConfig): string {
  return name === "prompt_embeddings" || name.startsWith(TUNER_PREFIX) ? name : `${prefixOf(config)}${name}`;
}

/**
 * Writes an adapter as PEFT does, so that `PeftModel.from_pretrained` loads the folder: every config key with its default.
 * Without `target_modules` a LoRA names the modules of its tensors, by full path.
 * @throws {LfmError} FILE_FORMAT for options that PEFT does not know; FILE_IO
 */
export async function writePeftAdapter(
  folder: string,
  adapter: { readonly config: PeftConfigInput; readonly tensors: Readonly<Record<string, HostTensor>> },
): Promise<void> {
  const path = join(folder, CONFIG);
  const config = parsePeftConfig(path, adapter.config);
  const targets =
    config.peft_type === "LORA" && (config.target_modules ?? undefined) === undefined ? { target_modules: loraPaths(adapter.tensors) } : {};
  const text = JSON.stringify(storedPeftConfig({ ...config, ...targets }), null, 2);
  const stored = Object.fromEntries(Object.entries(adapter.tensors).map(([name, t]) => [withPrefix(name, config), t]));
  await writeSafetensors(join(folder, WEIGHTS), stored, { metadata: { format: "pt" } });
  writeTextFile(path, text);
}

function loraPaths(tensors: Readonly<Record<string, HostTensor>>): readonly string[] | null {
  const paths = Object.keys(tensors).flatMap((name) => /^(.+)\.lora_(A\.weight|embedding_A)$/.exec(name)?.[1] ?? []);
  return paths.length > 0 ? [...new Set(paths)].sort() : null;
}
