import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { convertFloat, f32, type HostTensor, Rng, sizeOf, throwIfAborted } from "@lfm/core";
import { writeSafetensors } from "@lfm/formats";
import type { CellContext } from "../../scenario.js";

/** Of one model; the default makes files of 63 MB. */
export interface LlamaSize {
  readonly vocab: number;
  readonly hidden: number;
  readonly intermediate: number;
  readonly layers: number;
}
const SIZE: LlamaSize = { vocab: 8192, hidden: 512, intermediate: 1376, layers: 8 };
const HEADS = { query: 8, key: 4 };
const MODELS = ["base", "model-1", "model-2", "model-3"];
/** Values that tensors are cut from: drawing each anew takes longer than all merges. A prime, so that tensors do not begin alike. */
const POOL = 1_000_003;

/** Folders of models that are tuned from one base, with what to do when nobody needs them. */
export interface LlamaFiles {
  /** Holds `base`, `model-1`, `model-2`, `model-3`. */
  readonly folder: string;
  remove(): void;
}

/**
 * Writes four Llama-shaped checkpoints in bf16 into a temporary folder: a base of small normal values, and three that moved from it by a
 * tenth. How long a merge takes does not depend on what models know.
 * @throws {LfmError} FILE_IO, ABORTED
 */
export async function writeLlamaFiles(
  { signal, progress }: Pick<CellContext, "signal" | "progress">,
  size: LlamaSize = SIZE,
): Promise<LlamaFiles> {
  const folder = mkdtempSync(join(tmpdir(), "lfm-merge-files-"));
  const remove = (): void => rmSync(folder, { recursive: true, force: true });
  const shapes = llamaShapes(size);
  const base = new Rng(0).split("base").normalArray(POOL, 0.02);
  try {
    for (const [i, model] of MODELS.entries()) {
      throwIfAborted(signal, "[@lfm/bench] merge-files");
      const moved = i === 0 ? new Float32Array(POOL) : new Rng(0).split(model).normalArray(POOL, 0.002);
      let at = 0;
      const tensors: Record<string, HostTensor> = {};
      for (const [name, shape] of Object.entries(shapes)) {
        const values = new Float32Array(sizeOf(shape));
        for (let j = 0; j < values.length; j++, at = at + 1 === POOL ? 0 : at + 1) values[j] = base[at]! + moved[at]!;
        tensors[name] = convertFloat(f32(values, shape), "bf16");
      }
      await writeSafetensors(join(folder, model, "model.safetensors"), tensors, { metadata: { format: "pt" } });
      writeFileSync(join(folder, model, "config.json"), JSON.stringify(llamaConfig(size)));
      progress({ phase: "checkpoints", done: i + 1, total: MODELS.length, unit: "model" });
    }
  } catch (error) {
    remove();
    throw error;
  }
  return { folder, remove };
}

function llamaConfig({ vocab, hidden, intermediate, layers }: LlamaSize): Readonly<Record<string, unknown>> {
  return {
    architectures: ["LlamaForCausalLM"],
    model_type: "llama",
    vocab_size: vocab,
    hidden_size: hidden,
    intermediate_size: intermediate,
    num_hidden_layers: layers,
    num_attention_heads: HEADS.query,
    num_key_value_heads: HEADS.key,
    tie_word_embeddings: false,
    torch_dtype: "bfloat16",
  };
}

function llamaShapes({ vocab, hidden, intermediate, layers }: LlamaSize): Readonly<Record<string, readonly number[]>> {
  const keys = (hidden / HEADS.query) * HEADS.key;
  const block: Readonly<Record<string, readonly number[]>> = {
    "input_layernorm.weight": [hidden],
    "self_attn.q_proj.weight": [hidden, hidden],
    "self_attn.k_proj.weight": [keys, hidden],
    "self_attn.v_proj.weight": [keys, hidden],
    "self_attn.o_proj.weight": [hidden, hidden],
    "post_attention_layernorm.weight": [hidden],
    "mlp.gate_proj.weight": [intermediate, hidden],
    "mlp.up_proj.weight": [intermediate, hidden],
    "mlp.down_proj.weight": [hidden, intermediate],
  };
  return {
    "model.embed_tokens.weight": [vocab, hidden],
    ...Object.fromEntries(
      Array.from({ length: layers }, (_, i) => Object.entries(block).map(([name, shape]) => [`model.layers.${i}.${name}`, shape])).flat(),
    ),
    "model.norm.weight": [hidden],
    "lm_head.weight": [vocab, hidden],
  };
}
