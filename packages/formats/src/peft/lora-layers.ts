import { type HostTensor, LfmError } from "@lfm/core";
import type { PeftAdapter } from "./adapter.js";
import type { LoraPeftConfig } from "./config.js";

/** The LoRA of one module: ΔW = scale · B·A, out × in whatever way the base weight lies. */
export interface LoraLayer<T = HostTensor> {
  /** f32[r, in]; of an embedding [r, vocabulary] */
  readonly a: T;
  /** f32[out, r]; of an embedding [hidden, r] */
  readonly b: T;
  readonly r: number;
  /** α of this module, `alpha_pattern` considered. */
  readonly alpha: number;
  /** α/r, with rsLoRA α/√r. */
  readonly scale: number;
  readonly embedding: boolean;
  /** DoRA's m: f32[out] */
  readonly magnitude?: T;
  /** The bias of B (`lora_bias`), scaled like it: f32[out] */
  readonly bias?: T;
}

export interface LoraParts<T = HostTensor> {
  /** By module path. */
  readonly layers: Readonly<Record<string, LoraLayer<T>>>;
  /** Parameters that replace those of the base (`modules_to_save`, trained biases, resized embeddings), by checkpoint name. */
  readonly parameters: Readonly<Record<string, T>>;
}

/** Options that change what the tensors mean; an adapter that uses one of them is refused, never half understood. */
const unsupported = [
  "alora_invocation_tokens",
  "arrow_config",
  "kasa_config",
  "layer_replication",
  "megatron_config",
  "monteclora_config",
  "target_parameters",
  "trainable_token_indices",
  "use_bdlora",
  "use_qalora",
  "velora_config",
] as const;
/** Initialisations that also change the base weights, so that the tensors alone do not fit the plain base. */
const changesBase = /^(pissa|olora|corda|lora_ga|loftq)/;

/**
 * What the tensors of a LoRA adapter mean, module by module; no value is looked at, so they may still lie in a file.
 * @throws {LfmError} OP_UNSUPPORTED for options that are not here; FILE_FORMAT naming the tensor that is missing or of a wrong shape
 */
export function loraParts<T extends Pick<HostTensor, "shape">>(adapter: PeftAdapter<T>): LoraParts<T> {
  const { config } = adapter;
  if (config.peft_type !== "LORA") throw new LfmError("OP_UNSUPPORTED", `[@lfm/formats] an adapter of type ${config.peft_type} is no LoRA`);
  refuse(config);
  const layers: Record<string, LoraLayer<T>> = {};
  const parameters: Record<string, T> = {};
  for (const [name, t] of Object.entries(adapter.tensors)) {
    const part = /^(.+)\.lora_(A\.weight|embedding_A|B\.weight|B\.bias|embedding_B|magnitude_vector)$/.exec(name);
    if (!part) {
      if (/\.lora_[A-Za-z_]+(\.\w+)?$/.test(name))
        throw new LfmError("OP_UNSUPPORTED", `[@lfm/formats] LoRA: tensor "${name}" is not understood`);
      parameters[name.replace(".base_layer.", ".")] = t;
    } else if (part[2] === "A.weight" || part[2] === "embedding_A") {
      layers[part[1]!] = layer(part[1]!, part[2] === "embedding_A", adapter.tensors, config);
    } else if (!(`${part[1]}.lora_A.weight` in adapter.tensors) && !(`${part[1]}.lora_embedding_A` in adapter.tensors)) {
      throw new LfmError("FILE_FORMAT", `[@lfm/formats] LoRA: "${name}" has no lora_A beside it`);
    }
  }
  return { layers, parameters };
}

function refuse(config: LoraPeftConfig): void {
  const active = unsupported.filter((key) => config[key] !== undefined && config[key] !== null && config[key] !== false);
  if (active.length > 0)
    throw new LfmError("OP_UNSUPPORTED", `[@lfm/formats] LoRA: ${active.join(", ")} is not supported`, { details: { options: active } });
  if (typeof config.init_lora_weights === "string" && changesBase.test(config.init_lora_weights.toLowerCase()))
    throw new LfmError(
      "OP_UNSUPPORTED",
      `[@lfm/formats] LoRA: init_lora_weights "${config.init_lora_weights}" also changed the base weights`,
      {
        hint: "save the adapter with path_initial_model_for_weight_conversion, which turns it into a plain LoRA",
      },
    );
}

function layer<T extends Pick<HostTensor, "shape">>(
  path: string,
  embedding: boolean,
  tensors: PeftAdapter<T>["tensors"],
  config: LoraPeftConfig,
): LoraLayer<T> {
  const [a, b] = embedding
    ? [tensors[`${path}.lora_embedding_A`]!, tensors[`${path}.lora_embedding_B`]]
    : [tensors[`${path}.lora_A.weight`]!, tensors[`${path}.lora_B.weight`]];
  if (!b) throw new LfmError("FILE_FORMAT", `[@lfm/formats] LoRA: "${path}" has a lora_A and no lora_B`);
  if (a.shape.length !== 2 || b.shape.length !== 2)
    throw new LfmError(
      "OP_UNSUPPORTED",
      `[@lfm/formats] LoRA: "${path}" is no linear layer: A ${a.shape.join("×")}, B ${b.shape.join("×")}`,
    );
  const r = ofPattern(config.rank_pattern ?? {}, path) ?? config.r;
  const alpha = ofPattern(config.alpha_pattern ?? {}, path) ?? config.lora_alpha;
  if (a.shape[0] !== r || b.shape[1] !== r)
    throw new LfmError(
      "FILE_FORMAT",
      `[@lfm/formats] LoRA: "${path}" should have rank ${r}, has A ${a.shape.join("×")} and B ${b.shape.join("×")}`,
    );
  const [magnitude, bias] = [tensors[`${path}.lora_magnitude_vector`], tensors[`${path}.lora_B.bias`]];
  if (config.use_dora && !magnitude) throw new LfmError("FILE_FORMAT", `[@lfm/formats] LoRA: "${path}" has no lora_magnitude_vector`);
  return {
    a,
    b,
    r,
    alpha,
    scale: alpha / (config.use_rslora ? Math.sqrt(r) : r),
    embedding,
    ...(config.use_dora && magnitude ? { magnitude } : {}),
    ...(bias ? { bias } : {}),
  };
}

/** As PEFT looks up a pattern: the first key that is, as a regular expression, the path or its end after a dot. */
function ofPattern(patterns: Readonly<Record<string, number>>, path: string): number | undefined {
  for (const [key, value] of Object.entries(patterns)) {
    let pattern: RegExp;
    try {
      pattern = new RegExp(`^(.*\\.)?(${key})$`);
    } catch (cause) {
      throw new LfmError("FILE_FORMAT", `[@lfm/formats] LoRA: the pattern "${key}" is no regular expression`, { cause });
    }
    if (pattern.test(path)) return value;
  }
  return undefined;
}
