/** Where a tensor of a GGUF file goes in a Hugging Face folder. */
export interface Placed {
  readonly name: string;
  /** Heads whose rows lie as rotary pairs side by side in the file, and in two halves in Hugging Face's layout. */
  readonly pairedHeads?: number;
  /** Matrices that GPT-2 keeps [in, out]. */
  readonly transposed?: true;
  /** Gemma's norms: the file holds 1 + w. */
  readonly minusOne?: true;
  /** Experts that lie behind one another in one tensor: `name` has `*` for the number of each. */
  readonly experts?: number;
}

/** Undefined for a tensor that has no place, null for one that holds no weight. */
export type Names = (tensor: string) => Placed | null | undefined;

interface Sizes {
  readonly layers: number;
  readonly heads?: number;
  readonly kvHeads?: number;
  readonly experts?: number;
}

const top: Readonly<Record<string, string>> = { token_embd: "model.embed_tokens", output_norm: "model.norm", output: "lm_head" };
const topGpt2: Readonly<Record<string, string>> = {
  token_embd: "transformer.wte",
  position_embd: "transformer.wpe",
  output_norm: "transformer.ln_f",
  output: "lm_head",
};

const block: Readonly<Record<string, string>> = {
  attn_norm: "input_layernorm",
  attn_q: "self_attn.q_proj",
  attn_k: "self_attn.k_proj",
  attn_v: "self_attn.v_proj",
  attn_output: "self_attn.o_proj",
  ffn_norm: "post_attention_layernorm",
  ffn_gate: "mlp.gate_proj",
  ffn_up: "mlp.up_proj",
  ffn_down: "mlp.down_proj",
};
const queryNorms: Readonly<Record<string, string>> = { attn_q_norm: "self_attn.q_norm", attn_k_norm: "self_attn.k_norm" };
/** Gemma 2 and 3 have norms on both sides of each part. */
const fourNorms: Readonly<Record<string, string>> = {
  post_attention_norm: "post_attention_layernorm",
  ffn_norm: "pre_feedforward_layernorm",
  post_ffw_norm: "post_feedforward_layernorm",
};
const mixtral: Readonly<Record<string, string>> = {
  ffn_gate_inp: "block_sparse_moe.gate",
  ffn_gate_exps: "block_sparse_moe.experts.*.w1",
  ffn_down_exps: "block_sparse_moe.experts.*.w2",
  ffn_up_exps: "block_sparse_moe.experts.*.w3",
};
const gpt2: Readonly<Record<string, string>> = {
  attn_norm: "ln_1",
  attn_qkv: "attn.c_attn",
  attn_output: "attn.c_proj",
  ffn_norm: "ln_2",
  ffn_up: "mlp.c_fc",
  ffn_down: "mlp.c_proj",
};

const blocks: Readonly<Record<string, Readonly<Record<string, string>>>> = {
  llama: block,
  qwen2: block,
  qwen3: { ...block, ...queryNorms },
  gemma: block,
  gemma2: { ...block, ...fourNorms },
  gemma3: { ...block, ...fourNorms, ...queryNorms },
  gpt2,
};

/** Read by the config, or written by old converters and read by nobody. */
const NO_WEIGHT = /^rope_freqs\.weight$|^blk\.\d+\.(attn_rot_embd|attn_rope_freqs)\.weight$/;

/** The names of one architecture. */
export function namesOf(architecture: string, { layers, heads, kvHeads, experts = 0 }: Sizes): Names {
  const [outer, prefix] = architecture === "gpt2" ? [topGpt2, "transformer.h"] : [top, "model.layers"];
  const inner = { ...blocks[architecture]!, ...(experts > 0 ? mixtral : {}) };
  return (tensor) => {
    if (NO_WEIGHT.test(tensor)) return null;
    const [, layer, part = "", ending = ""] = /^(?:blk\.(\d+)\.)?(\w+)\.(weight|bias)$/.exec(tensor) ?? [];
    const names = layer === undefined ? outer : inner;
    if (!Object.hasOwn(names, part) || (layer !== undefined && Number(layer) >= layers)) return undefined;
    const name = `${layer === undefined ? "" : `${prefix}.${layer}.`}${names[part]}.${ending}`;
    const paired = architecture === "llama" ? { attn_q: heads, attn_k: kvHeads }[part] : undefined;
    return {
      name,
      ...(paired === undefined ? {} : { pairedHeads: paired }),
      ...(architecture === "gpt2" && layer !== undefined && ending === "weight" && !part.endsWith("norm") ? { transposed: true } : {}),
      ...(architecture.startsWith("gemma") && part.endsWith("norm") ? { minusOne: true } : {}),
      ...(name.includes("*") ? { experts } : {}),
    };
  };
}

/** Architectures of llama.cpp by the `model_type` of config.json. */
const architectureOf: Readonly<Record<string, string>> = {
  llama: "llama",
  mistral: "llama",
  qwen2: "qwen2",
  qwen3: "qwen3",
  gemma: "gemma",
  gemma2: "gemma2",
  gemma3_text: "gemma3",
  gpt2: "gpt2",
};

/** Where a module of a Hugging Face model stands in llama.cpp. */
export interface GgufModule {
  readonly architecture: string;
  /** Without .weight and .bias. */
  readonly tensor: string;
  /** Whether the rows of its heads lie as rotary pairs side by side there. */
  readonly paired: boolean;
}

/** @returns undefined for a model that has no form there @param path of a linear layer, e.g. `model.layers.0.self_attn.q_proj` */
export function ggufModule(modelType: string, path: string): GgufModule | undefined {
  const architecture = Object.hasOwn(architectureOf, modelType) ? architectureOf[modelType] : undefined;
  if (architecture === undefined) return undefined;
  const [, layer, inner] = /^(?:model\.layers|transformer\.h|h)\.(\d+)\.(.+)$/.exec(path) ?? [];
  const names = layer === undefined ? (architecture === "gpt2" ? topGpt2 : top) : blocks[architecture]!;
  const part = Object.entries(names).find(([, name]) => name === (inner ?? path))?.[0];
  if (part === undefined) return undefined;
  return {
    architecture,
    tensor: layer === undefined ? part : `blk.${layer}.${part}`,
    paired: architecture === "llama" && (part === "attn_q" || part === "attn_k"),
  };
}
