import { LfmError } from "@lfm/core";
import type { LoraLayer, LoraParts } from "../peft/lora-layers.js";
import { type GgufModule, ggufModule } from "./tensor-names.js";
import { f32Tensor, type GgufTensorData, type GgufWritten, writeGguf } from "./write-gguf.js";

/** The model that an adapter lies on. */
export interface GgufLoraBase {
  /** `model_type` of config.json. */
  readonly modelType: string;
  readonly heads: number;
  readonly kvHeads: number;
}

/**
 * Writes a LoRA as llama.cpp loads it (`llama-cli --lora`): f32 matrices under the names of the GGUF file of the base, one α for all. llama.cpp
 * multiplies by α/r; where modules have scales of their own, these are put into B.
 * @throws {LfmError} CAPABILITY_MISSING for what llama.cpp has no form of: other architectures, LoRA of embeddings, DoRA, biases, parameters trained in
 *   full; FILE_IO
 */
export async function writeGgufLora(path: string, { layers, parameters, tokens }: LoraParts, base: GgufLoraBase): Promise<void> {
  const [whole] = [...Object.keys(parameters), ...Object.keys(tokens)];
  if (whole !== undefined) throw formless(`"${whole}" is trained in full`, "lfm merge puts it into the weights");
  const placed = Object.entries(layers).map(([at, layer]) => ({ layer, place: placeOf(at, layer, base) }));
  const [first] = placed;
  if (!first) throw formless("the adapter changes nothing", "give an adapter that was trained");
  const alpha = first.layer.scale * first.layer.r;
  const metadata: Record<string, GgufWritten> = {
    "general.type": { text: "adapter" },
    "general.architecture": { text: first.place.architecture },
    "adapter.type": { text: "lora" },
    "adapter.lora.alpha": { f32: alpha },
  };
  const tensors: Record<string, GgufTensorData> = {};
  for (const { layer, place } of placed) {
    tensors[`${place.tensor}.weight.lora_a`] = f32Tensor(Float32Array.from(layer.a.data, Number), layer.a.shape);
    tensors[`${place.tensor}.weight.lora_b`] = f32Tensor(rowsOf(layer, place, base, (layer.scale * layer.r) / alpha), layer.b.shape);
  }
  await writeGguf(path, metadata, tensors);
}

function formless(what: string, hint: string): LfmError {
  return new LfmError("CAPABILITY_MISSING", `[@lfm/formats] llama.cpp has no form for this adapter: ${what}`, { hint });
}

/** @throws {LfmError} CAPABILITY_MISSING */
function placeOf(path: string, layer: LoraLayer, base: GgufLoraBase): GgufModule {
  if (layer.embedding) throw formless(`"${path}" is an embedding`, "train the adapter on linear layers: --target-modules");
  if (layer.magnitude) throw formless(`"${path}" is scaled by DoRA`, "lfm merge puts it into the weights");
  if (layer.bias) throw formless(`"${path}" has a bias on B`, "lfm merge puts it into the weights");
  const place = ggufModule(base.modelType, path);
  if (!place) throw formless(`"${path}" of a ${base.modelType} has no name there`, "lfm merge puts it into the weights");
  return place;
}

/** B with its rows in llama.cpp's order, multiplied. */
function rowsOf(layer: LoraLayer, { tensor, paired }: GgufModule, base: GgufLoraBase, factor: number): Float32Array {
  const [rows, r] = layer.b.shape as [number, number];
  const half = paired ? rows / (tensor.endsWith("attn_q") ? base.heads : base.kvHeads) / 2 : 0;
  const out = new Float32Array(layer.b.data.length);
  for (let row = 0; row < rows; row++) {
    const inHead = paired ? row % (2 * half) : 0;
    const from = paired ? row - inHead + (inHead % 2) * half + Math.floor(inHead / 2) : row;
    for (let k = 0; k < r; k++) out[row * r + k] = factor * Number(layer.b.data[from * r + k]);
  }
  return out;
}
