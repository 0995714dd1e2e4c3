/**
 * Folders of the library `adapters` (AdapterHub): options and tensors of one adapter, and in files of their own its head and what fuses several.
 * Tensors have the names of the library's modules, the adapter's own name among them.
 */
import { existsSync } from "node:fs";
import { join } from "node:path";
import { type HostTensor, LfmError, loadWeight, widenToF32 } from "@lfm/core";
import { readJsonObject } from "../json-file.js";
import { formatJson } from "../json-text.js";
import { namedRecord } from "../named-record.js";
import { formOf } from "../safetensors/other-forms.js";
import { readSafetensors } from "../safetensors/read.js";
import { writeSafetensors } from "../safetensors/write.js";
import { writeTextFile } from "../whole-file.js";
import {
  ADAPTERS_VERSION,
  type HubAround,
  type HubBottleneck,
  type HubFusion,
  isHubConfig,
  parseHubBottleneck,
  parseHubFusion,
} from "./config.js";

type Tensors = Readonly<Record<string, HostTensor>>;

export interface HubAdapter {
  readonly around: HubAround;
  readonly config: HubBottleneck;
  readonly tensors: Tensors;
}

export interface HubHead {
  /** The whole head_config.json. */
  readonly config: Readonly<Record<string, unknown>>;
  readonly tensors: Tensors;
}

/** Files of each part: options, safetensors, and the pickle in its place. */
const parts = {
  adapter: ["adapter_config.json", "adapter.safetensors", "pytorch_adapter.bin"],
  head: ["head_config.json", "model_head.safetensors", "pytorch_model_head.bin"],
  fusion: ["adapter_fusion_config.json", "model_adapter_fusion.safetensors", "pytorch_model_adapter_fusion.bin"],
} as const;
type Part = keyof typeof parts;

/** Whether a folder holds an adapter of the library `adapters`: PEFT names its file of options alike. @throws {LfmError} FILE_IO, FILE_FORMAT */
export function isHubAdapter(folder: string): boolean {
  const path = join(folder, parts.adapter[0]);
  return existsSync(path) && isHubConfig(readJsonObject(path));
}

/** Whether a folder holds what fuses adapters. */
export function isHubFusion(folder: string): boolean {
  return existsSync(join(folder, parts.fusion[0]));
}

/** @throws {LfmError} FILE_IO for a missing file or a pickle, with the line that converts it; FILE_FORMAT; OP_UNSUPPORTED */
export function readHubAdapter(folder: string): HubAdapter {
  const path = join(folder, parts.adapter[0]);
  const { around, config } = parseHubBottleneck(path, readJsonObject(path));
  return { around, config, tensors: tensorsOf(folder, "adapter") };
}

/** The head beside an adapter, undefined where there is none. @throws {LfmError} as {@link readHubAdapter} */
export function readHubHead(folder: string): HubHead | undefined {
  const path = join(folder, parts.head[0]);
  return existsSync(path) ? { config: readJsonObject(path), tensors: tensorsOf(folder, "head") } : undefined;
}

/** What fuses adapters, without them. @throws {LfmError} as {@link readHubAdapter} */
export function readHubFusion(folder: string): { readonly around: HubAround; readonly config: HubFusion; readonly tensors: Tensors } {
  const path = join(folder, parts.fusion[0]);
  return { ...parseHubFusion(path, readJsonObject(path)), tensors: tensorsOf(folder, "fusion") };
}

/**
 * Writes one part: its options with what stands around them, and its tensors.
 * @param floats options that the library wants written as floats (1.0)
 * @throws {LfmError} FILE_IO
 */
export async function writeHubPart(
  folder: string,
  part: Part,
  options: Readonly<Record<string, unknown>>,
  tensors: Tensors,
  floats: ReadonlySet<string> = new Set(),
): Promise<void> {
  const [config, weights] = parts[part];
  await writeSafetensors(join(folder, weights), tensors, { metadata: { format: "pt" } });
  const sorted = Object.fromEntries(Object.entries({ version: ADAPTERS_VERSION, ...options }).sort(([a], [b]) => (a < b ? -1 : 1)));
  writeTextFile(join(folder, config), formatJson(sorted, { indent: 2, floats }));
}

/** Names of tensors as versions before 1 had them. */
const LEGACY: readonly (readonly [RegExp, string])[] = [
  [/(attention|layer)_text_(task|lang)_adapters/, "adapters"],
  [/invertible_lang_adapters/, "invertible_adapters"],
];

function tensorsOf(folder: string, part: Part): Tensors {
  const [, weights, pickle] = parts[part];
  const path = join(folder, weights);
  if (!existsSync(path)) {
    const there = existsSync(join(folder, pickle));
    throw new LfmError(
      "FILE_IO",
      `[@lfm/formats] ${folder} has no ${weights}${there ? `, but ${pickle}: pickles can run code and are not read` : ""}`,
      {
        ...(there ? { hint: formOf(pickle)!.convert(folder, pickle, weights) } : {}),
      },
    );
  }
  const out = namedRecord<HostTensor>();
  for (const [key, t] of Object.entries(readSafetensors(path).tensors)) {
    const name = LEGACY.reduce((text, [from, to]) => text.replace(from, to), key);
    const { dtype } = t;
    out[name] = dtype === "bf16" || dtype === "f16" || dtype === "f64" ? widenToF32(loadWeight(t)) : loadWeight(t);
  }
  return out;
}
