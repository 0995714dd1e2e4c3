import type { GgufFacts } from "./gguf-facts.js";
import { type Names, namesOf } from "./tensor-names.js";

/** What is known of a model besides its tensors. */
export interface GgufModel {
  /** config.json without what follows from the tokenizer and the dtype. */
  readonly config: Readonly<Record<string, unknown>>;
  readonly names: Names;
}

/** What config.json needs to know of the tensors. */
export interface TensorFacts {
  /** Rows of the embedding. */
  readonly vocabSize: number;
  /** Whether there is a head of its own. */
  readonly head: boolean;
  /** Whether attention and MLPs have biases. */
  readonly attentionBias: boolean;
  readonly mlpBias: boolean;
  /** Values of rope_freqs.weight: what rotary frequencies are divided by. */
  readonly ropeFactors: readonly number[] | undefined;
}

/** Names in the file's `general.architecture`. */
const ggufArchitectures = ["llama", "qwen2", "qwen3", "gemma", "gemma2", "gemma3", "gpt2"] as const;
type Architecture = (typeof ggufArchitectures)[number];

/** Keys that say nothing that the model computes. */
const IDLE = ["vocab_size", "tensor_data_layout", "rope.scaling.finetuned", "attention.causal"];

/**
 * What the metadata say of a model, as Hugging Face has it.
 * @param passOver keys that are known to be of no weight
 * @throws {LfmError} FILE_FORMAT for an architecture that is not known, and for metadata of the model that nothing here reads: they may change what
 * it computes
 */
export function describeGguf(facts: GgufFacts, tensors: TensorFacts, passOver: readonly string[] = []): GgufModel {
  const name = facts.need("general.architecture", facts.text("general.architecture"));
  const architecture = ggufArchitectures.find((a) => a === name);
  if (!architecture)
    throw facts.fail(
      `the architecture "${name}" is not known`,
      `what converts: ${ggufArchitectures.join(", ")}; vision and audio parts do not`,
    );
  const kind = facts.text("general.type") ?? "model";
  if (kind !== "model") throw facts.fail(`general.type is "${kind}", not "model"`, "give the file of the model that it belongs to");
  const model = architecture === "gpt2" ? gpt2(facts, tensors) : rotary(architecture, facts, tensors);
  facts.passOver([...IDLE.map((key) => `${architecture}.${key}`), ...passOver]);
  const [unread] = facts.unread(`${architecture}.`);
  if (unread !== undefined)
    throw facts.fail(`${unread} is not known: it may change what the model computes`, `if it does not: --ignore-metadata ${unread}`);
  return model;
}

function gpt2(facts: GgufFacts, { vocabSize, head }: TensorFacts): GgufModel {
  const size = (key: string): number => facts.need(`gpt2.${key}`, facts.size(`gpt2.${key}`));
  const [width, layers] = [size("embedding_length"), size("block_count")];
  const inner = facts.size("gpt2.feed_forward_length") ?? 4 * width;
  return {
    names: namesOf("gpt2", { layers }),
    config: {
      architectures: ["GPT2LMHeadModel"],
      model_type: "gpt2",
      vocab_size: vocabSize,
      n_positions: size("context_length"),
      n_ctx: size("context_length"),
      n_embd: width,
      n_layer: layers,
      n_head: size("attention.head_count"),
      n_inner: inner === 4 * width ? null : inner,
      layer_norm_epsilon: decimal(facts.need("gpt2.attention.layer_norm_epsilon", facts.number("gpt2.attention.layer_norm_epsilon"))),
      activation_function: "gelu_new",
      tie_word_embeddings: !head,
    },
  };
}

const types: Readonly<Record<Exclude<Architecture, "gpt2">, readonly [type: string, kind: string]>> = {
  llama: ["llama", "LlamaForCausalLM"],
  qwen2: ["qwen2", "Qwen2ForCausalLM"],
  qwen3: ["qwen3", "Qwen3ForCausalLM"],
  gemma: ["gemma", "GemmaForCausalLM"],
  gemma2: ["gemma2", "Gemma2ForCausalLM"],
  gemma3: ["gemma3_text", "Gemma3ForCausalLM"],
};

/** Everything with rotary positions, RMS norms and gated MLPs. */
function rotary(
  architecture: Exclude<Architecture, "gpt2">,
  facts: GgufFacts,
  { vocabSize, head, ropeFactors, attentionBias, mlpBias }: TensorFacts,
): GgufModel {
  const at = (key: string): string => `${architecture}.${key}`;
  const size = (key: string): number => facts.need(at(key), facts.size(at(key)));
  const [hidden, layers, heads] = [size("embedding_length"), size("block_count"), size("attention.head_count")];
  const kvHeads = facts.size(at("attention.head_count_kv")) ?? heads;
  const experts = facts.count(at("expert_count")) ?? 0;
  const used = facts.count(at("expert_used_count"));
  if (experts > 0 && architecture !== "llama") throw facts.fail(`${architecture} with a mixture of experts is not known`);
  const gemma = architecture.startsWith("gemma");
  const headDim = headSize(facts, at, hidden / heads);
  const [type, kind] = experts > 0 ? ["mixtral", "MixtralForCausalLM"] : types[architecture];
  return {
    names: namesOf(architecture, { layers, heads, kvHeads, experts }),
    config: {
      architectures: [kind],
      model_type: type,
      vocab_size: vocabSize,
      hidden_size: hidden,
      intermediate_size: size("feed_forward_length"),
      num_hidden_layers: layers,
      num_attention_heads: heads,
      num_key_value_heads: kvHeads,
      head_dim: headDim,
      max_position_embeddings: size("context_length"),
      rms_norm_eps: decimal(facts.need(at("attention.layer_norm_rms_epsilon"), facts.number(at("attention.layer_norm_rms_epsilon")))),
      rope_theta: decimal(facts.number(at("rope.freq_base")) ?? (architecture === "gemma3" ? 1e6 : 1e4)),
      ...scaling(facts, at, headDim, ropeFactors),
      tie_word_embeddings: !head,
      // Qwen2's are no option: it always has them.
      ...(architecture === "qwen2" || !attentionBias ? {} : { attention_bias: true }),
      ...(mlpBias ? { mlp_bias: true } : {}),
      ...(gemma ? { hidden_activation: "gelu_pytorch_tanh", hidden_act: "gelu_pytorch_tanh" } : { hidden_act: "silu" }),
      ...(experts > 0 ? { num_local_experts: experts, num_experts_per_tok: facts.need(at("expert_used_count"), used) } : {}),
      ...(architecture === "gemma2" || architecture === "gemma3"
        ? slidingGemma(architecture, facts, { layers, heads, hidden, headDim })
        : {}),
      ...slidingLlama(architecture, facts),
    },
  };
}

/** @throws {LfmError} FILE_FORMAT where keys and values differ, or turn in part only */
function headSize(facts: GgufFacts, at: (key: string) => string, byDefault: number): number {
  const key = facts.size(at("attention.key_length")) ?? byDefault;
  const value = facts.size(at("attention.value_length")) ?? key;
  const turned = facts.size(at("rope.dimension_count")) ?? key;
  if (!Number.isInteger(key)) throw facts.fail(`heads of ${key} numbers cannot be`);
  if (value !== key) throw facts.fail(`keys of ${key} and values of ${value} numbers: no architecture here has both`);
  if (turned !== key) throw facts.fail(`${turned} of the ${key} numbers of a head are turned by their position: here all are`);
  return key;
}

/** A window on attention that llama.cpp knows of Mistral's. */
function slidingLlama(architecture: Architecture, facts: GgufFacts): Readonly<Record<string, unknown>> {
  if (architecture.startsWith("gemma")) return {};
  const window = facts.count(`${architecture}.attention.sliding_window`) ?? 0;
  const context = facts.size(`${architecture}.context_length`) ?? 0;
  if (window > 0 && window < context)
    throw facts.fail(
      `attention over a window of ${window} is not known of ${architecture}`,
      "a model of the type mistral has it: convert from its own folder",
    );
  return {};
}

interface GemmaSizes {
  readonly layers: number;
  readonly heads: number;
  readonly hidden: number;
  readonly headDim: number;
}

/** Layers of the largest models, whose queries are divided by the root of hidden/heads instead of that of a head's size. */
const LARGEST = { gemma2: 46, gemma3: 62 } as const;

/** What Gemma 2 and 3 have besides: windows, soft caps, a second base of rotary positions. */
function slidingGemma(name: "gemma2" | "gemma3", facts: GgufFacts, s: GemmaSizes): Readonly<Record<string, unknown>> {
  const cap = (key: string): number | null => {
    const value = facts.number(`${name}.${key}`);
    return value === undefined || value === 0 ? null : decimal(value);
  };
  const window = facts.need(`${name}.attention.sliding_window`, facts.size(`${name}.attention.sliding_window`));
  const pattern = facts.size(`${name}.attention.sliding_window_pattern`) ?? (name === "gemma2" ? 2 : 6);
  return {
    query_pre_attn_scalar: s.layers === LARGEST[name] ? s.hidden / s.heads : s.headDim,
    sliding_window: window,
    layer_types: Array.from({ length: s.layers }, (_, i) => ((i + 1) % pattern === 0 ? "full_attention" : "sliding_attention")),
    attn_logit_softcapping: cap("attn_logit_softcapping"),
    final_logit_softcapping: cap("final_logit_softcapping"),
    ...(name === "gemma3" ? { rope_local_base_freq: decimal(facts.number("gemma3.rope.freq_base_swa") ?? 1e4) } : {}),
  };
}

/** How positions are stretched. @throws {LfmError} FILE_FORMAT for a way that no architecture here has */
function scaling(
  facts: GgufFacts,
  at: (key: string) => string,
  headDim: number,
  factors: readonly number[] | undefined,
): Readonly<Record<string, unknown>> {
  const number = (key: string): number | undefined => facts.number(at(`rope.scaling.${key}`));
  const legacy = facts.number(at("rope.scale_linear"));
  const type = facts.text(at("rope.scaling.type")) ?? (legacy === undefined ? "none" : "linear");
  const factor = number("factor") ?? legacy ?? 1;
  const original = facts.size(at("rope.scaling.original_context_length"));
  const [attention, fast, slow] = [number("attn_factor"), number("yarn_beta_fast"), number("yarn_beta_slow")];
  if (factors) {
    if (type !== "none") throw facts.fail(`rope_freqs.weight beside rotary scaling of type "${type}" is not known`);
    const found = llama3Scaling(factors, headDim, facts.number(at("rope.freq_base")) ?? 1e4, original ?? 8192);
    if (found === undefined) throw facts.fail("rope_freqs.weight is not what the scaling of Llama 3 gives: no config.json can say it");
    return { rope_scaling: found };
  }
  if (type === "none" || (type === "linear" && factor === 1)) return {};
  if (type === "linear") return { rope_scaling: { rope_type: "linear", factor: decimal(factor) } };
  if (type !== "yarn") throw facts.fail(`rotary scaling of type "${type}" is not known`);
  return {
    rope_scaling: {
      rope_type: "yarn",
      factor: decimal(factor),
      original_max_position_embeddings: facts.need(at("rope.scaling.original_context_length"), original),
      ...(attention === undefined || attention === 1 ? {} : { attention_factor: decimal(attention) }),
      ...(fast === undefined ? {} : { beta_fast: decimal(fast) }),
      ...(slow === undefined ? {} : { beta_slow: decimal(slow) }),
    },
  };
}

/**
 * The parameters of Llama 3's scaling behind its factors: 1 for wavelengths short beside the original context, the largest for long ones, between them
 * a passage that depends on three numbers, of which all models have two alike.
 */
function llama3Scaling(
  given: readonly number[],
  headDim: number,
  theta: number,
  original: number,
): Readonly<Record<string, unknown>> | undefined {
  const factor = Math.max(...given);
  const [low, high] = [1, 4];
  const expected = given.map((_, i) => {
    const wavelength = 2 * Math.PI * theta ** ((2 * i) / headDim);
    if (wavelength < original / high) return 1;
    if (wavelength > original / low) return factor;
    const smooth = (original / wavelength - low) / (high - low);
    return 1 / ((1 - smooth) / factor + smooth);
  });
  if (given.length !== headDim / 2 || expected.some((e, i) => Math.abs(e - given[i]!) > 1e-4 * e)) return undefined;
  return {
    rope_type: "llama3",
    factor: decimal(factor),
    low_freq_factor: low,
    high_freq_factor: high,
    original_max_position_embeddings: original,
  };
}

/** The shortest decimal of an f32: 1e-5 instead of 0.000009999999747378752. */
function decimal(value: number): number {
  for (let digits = 1; digits < 9; digits++) {
    const short = Number(value.toPrecision(digits));
    if (Math.fround(short) === Math.fround(value)) return short;
  }
  return value;
}
