import { statSync } from "node:fs";
import { join } from "node:path";
import {
  cast,
  exportOnnx,
  LfmError,
  type Model,
  type ModelInput,
  type Outputs,
  type Spec,
  slice,
  sym,
  type Tensor,
  trace,
} from "@lfm/core";

/** More than this lies beside the model instead of in it: readers of the model alone stay quick, and a file of protobuf ends at 2 GB. */
const INLINE_BYTES = 500e6;

const [batch, sequence] = [sym("batch"), sym("sequence")];
const ids: Spec = { dtype: "i64", shape: [batch, sequence] };

/** What was written. */
export interface WrittenOnnx {
  readonly inputs: readonly string[];
  readonly outputs: readonly string[];
  /** Of all files. */
  readonly bytes: number;
  /** Whether weights lie in a file of their own. */
  readonly external: boolean;
}

/**
 * Writes `model.onnx` into a folder: the forward pass with inputs and outputs as Hugging Face's exporters call them. Language models take int64
 * `input_ids` and `attention_mask` of any batch and length and give `logits`; encoders take `token_type_ids` too where they know segments and give
 * `last_hidden_state`; models of images take `pixel_values`.
 * @throws {LfmError} CAPABILITY_MISSING for a model without such a pass; OP_UNSUPPORTED; FILE_IO
 */
export async function writeOnnx(folder: string, model: Model): Promise<WrittenOnnx> {
  const path = join(folder, "model.onnx");
  const { graph } = trace(
    inputsOf(model),
    (inputs, params) => named(model, model.forward(params, inputOf(inputs), { mode: "eval", hooks: [] })),
    model.params,
  );
  const bytes = Object.values(model.params).reduce((n, w) => n + ("file" in w ? w.file.bytes : w.data.byteLength), 0);
  const { inputs, outputs, dataFile } = await exportOnnx(graph, path, { weights: bytes > INLINE_BYTES ? "external" : "inline" });
  return {
    inputs,
    outputs,
    bytes: statSync(path).size + (dataFile === undefined ? 0 : statSync(dataFile).size),
    external: dataFile !== undefined,
  };
}

function inputsOf({ info }: Model): Record<string, Spec> {
  if (info.task === "seq2seq-lm")
    throw new LfmError("CAPABILITY_MISSING", `lfm: ${info.architecture} has an encoder and a decoder: as ONNX it would be two models`, {
      hint: "export it with optimum: optimum-cli export onnx --model MODEL OUT",
    });
  if (info.input === "pixels") {
    const { image_size: size, num_channels, channels } = info.config;
    const [sides, depth] = [Number(size), Number(channels ?? num_channels)];
    if (!(sides > 0 && depth > 0))
      throw new LfmError("CAPABILITY_MISSING", `lfm: the config of ${info.architecture} does not say the size of its images`);
    return { pixel_values: { dtype: "f32", shape: [batch, depth, sides, sides] } };
  }
  if (info.input === "features") return { features: { dtype: "f32", shape: [batch, Number(info.config.input_size)] } };
  const segments = Number(info.config.type_vocab_size ?? 0) > 1;
  return { input_ids: ids, attention_mask: ids, ...(segments ? { token_type_ids: ids } : {}) };
}

function inputOf(inputs: Readonly<Record<string, Tensor>>): ModelInput {
  const { input_ids: tokens, attention_mask: mask, token_type_ids: segments, pixel_values: pixels, features } = inputs;
  return {
    ...(tokens ? { tokens: cast(tokens, "i32") } : {}),
    ...(mask ? { mask: cast(mask, "f32") } : {}),
    ...(segments ? { segments: cast(segments, "i32") } : {}),
    ...(pixels ? { pixels } : {}),
    ...(features ? { features } : {}),
  };
}

function named({ info }: Model, { logits, last, pooled, prefix = 0 }: Outputs): Record<string, Tensor> {
  // Prompts stand in front of the tokens: nobody outside knows of their positions.
  const own = (x: Tensor): Tensor => (prefix === 0 || info.input !== "tokens" ? x : slice(x, 1, prefix, sequence));
  if (logits) return { logits: info.task === "causal-lm" ? own(logits) : logits };
  if (!last) throw new LfmError("CAPABILITY_MISSING", `lfm: ${info.architecture} gives neither logits nor hidden states`);
  return { last_hidden_state: own(last), ...(pooled ? { pooler_output: pooled } : {}) };
}
