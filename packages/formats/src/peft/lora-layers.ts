import { type HostTensor, LfmError } from "@lfm/core";
import { namedRecord } from "../named-record.js";
import type { PeftAdapter } from "./adapter.js";
import type { LoraPeftConfig, TrainableTokensPeftConfig } from "./config.js";
import { refuseUnknownLora } from "./lora-options.js";
import { type ModulePatterns, modulePatterns } from "./module-patterns.js";
import { parameterName } from "./tensor-names.js";

/** The LoRA of one module: ΔW = scale · B·A, out × in whatever way the base weight lies. */
export interface LoraLayer<T = HostTensor> {
  /** f32[r, in]; of an embedding [r, vocabulary], of a convolution [r, in, height, width] */
  readonly a: T;
  /** f32[out, r]; of an embedding [hidden, r], of a convolution [out, r, 1, 1] */
  readonly b: T;
  readonly r: number;
  /** α of this module, `alpha_pattern` considered. */
  readonly alpha: number;
  /** α/r, with rsLoRA α/√r. */
  readonly scale: number;
  readonly embedding: boolean;
  /** DoRA's m (arXiv 2402.09353): the weight becomes m · (W + ΔW) / ‖W + ΔW‖, norms over the inputs of each output. f32[out], of an embedding [hidden] */
  readonly magnitude?: T;
  /** The bias of B (`lora_bias`), scaled like it: f32[out] */
  readonly bias?: T;
}

/** Rows of an embedding that an adapter has values of its own for. */
export interface TokenRows<T = HostTensor> {
  readonly rows: readonly number[];
  /** f32[rows, hidden]: they replace the base's. */
  readonly values: T;
}

/** All tensors of an adapter by what they do: parameters are replaced first, LoRA and rows come on top of them. */
export interface LoraParts<T = HostTensor> {
  /** By module path. */
  readonly layers: Readonly<Record<string, LoraLayer<T>>>;
  /** Parameters that replace those of the base (`modules_to_save`, trained biases, resized embeddings), by checkpoint name. */
  readonly parameters: Readonly<Record<string, T>>;
  /** By module path (`trainable_token_indices`). */
  readonly tokens: Readonly<Record<string, TokenRows<T>>>;
}

const LORA = /^(.+)\.lora_(A\.weight|embedding_A|B\.weight|B\.bias|embedding_B|magnitude_vector)$/;
const TOKENS = /^(.+?)(?:\.token_adapter)?\.trainable_tokens_(delta|original)$/;

export interface LoraPartsOptions {
  /** True: layers may be convolutions; default, they are refused. */
  readonly convolutions?: boolean;
}

/**
 * What the tensors of a LoRA adapter, or of one that has rows of embeddings alone, mean, module by module. Every tensor is accounted for; no
 * value is looked at, so they may still lie in a file.
 * @throws {LfmError} OP_UNSUPPORTED for options and tensors that are not known; FILE_FORMAT naming the tensor that is missing or of a wrong
 *   shape; BUDGET_EXCEEDED for patterns of modules without end
 */
export function loraParts<T extends Pick<HostTensor, "shape">>(adapter: PeftAdapter<T>, options: LoraPartsOptions = {}): LoraParts<T> {
  const { config } = adapter;
  if (config.peft_type !== "LORA" && config.peft_type !== "TRAINABLE_TOKENS")
    throw new LfmError("OP_UNSUPPORTED", `[@lfm/formats] an adapter of type ${config.peft_type} is no LoRA`);
  if (config.peft_type === "LORA") refuseUnknownLora(config);
  const layerOf = config.peft_type === "LORA" ? layerReader(adapter.tensors, config, options) : undefined;
  const [layers, parameters, tokens] = [namedRecord<LoraLayer<T>>(), namedRecord<T>(), namedRecord<TokenRows<T>>()];
  for (const [name, t] of Object.entries(adapter.tensors)) {
    const part = LORA.exec(name);
    const rows = TOKENS.exec(name);
    if (part) {
      const path = part[1]!;
      if (!layerOf) throw new LfmError("FILE_FORMAT", `[@lfm/formats] ${config.peft_type}: "${name}" is of a LoRA`);
      if (part[2] === "A.weight" || part[2] === "embedding_A") layers[path] = layerOf(path, part[2] === "embedding_A");
      else if (!Object.hasOwn(adapter.tensors, `${path}.lora_A.weight`) && !Object.hasOwn(adapter.tensors, `${path}.lora_embedding_A`))
        throw new LfmError("FILE_FORMAT", `[@lfm/formats] LoRA: "${name}" has no lora_A beside it`);
    } else if (rows) {
      // The base's own rows are kept beside the learned ones by some versions.
      if (rows[2] === "delta") tokens[rows[1]!] = tokenRows(rows[1]!, t, config);
    } else if (/\.lora_velora_embed$/.test(name)) {
      // What activations were compressed by in the backward pass: nothing goes through it forward.
    } else if (/\.lora_[A-Za-z_]+(\.\w+)?$/.test(name)) {
      throw new LfmError("OP_UNSUPPORTED", `[@lfm/formats] LoRA: tensor "${name}" is not understood`);
    } else {
      parameters[parameterName(name)] = t;
    }
  }
  return { layers, parameters, tokens };
}

function layerReader<T extends Pick<HostTensor, "shape">>(
  tensors: PeftAdapter<T>["tensors"],
  config: LoraPeftConfig,
  { convolutions = false }: LoraPartsOptions,
): (path: string, embedding: boolean) => LoraLayer<T> {
  const [ranks, alphas] = [modulePatterns("rank_pattern", config.rank_pattern), modulePatterns("alpha_pattern", config.alpha_pattern)];
  return (path, embedding) => layer(path, embedding, tensors, config, ranks, alphas, convolutions);
}

function layer<T extends Pick<HostTensor, "shape">>(
  path: string,
  embedding: boolean,
  tensors: PeftAdapter<T>["tensors"],
  config: LoraPeftConfig,
  ranks: ModulePatterns,
  alphas: ModulePatterns,
  convolutions: boolean,
): LoraLayer<T> {
  const of = (name: string): T | undefined => (Object.hasOwn(tensors, `${path}.${name}`) ? tensors[`${path}.${name}`] : undefined);
  const fail = (what: string): LfmError => new LfmError("FILE_FORMAT", `[@lfm/formats] LoRA: "${path}" ${what}`);
  if (of("lora_A.weight") && of("lora_embedding_A")) throw fail("has the LoRA of a linear layer and that of an embedding");
  const [a, b] = embedding ? [of("lora_embedding_A")!, of("lora_embedding_B")] : [of("lora_A.weight")!, of("lora_B.weight")];
  if (!b) throw fail("has a lora_A and no lora_B");
  const isKernel = convolutions && a.shape.length === 4 && b.shape.length === 4 && b.shape[2] === 1 && b.shape[3] === 1;
  if (!isKernel && (a.shape.length !== 2 || b.shape.length !== 2))
    throw new LfmError(
      "OP_UNSUPPORTED",
      `[@lfm/formats] LoRA: "${path}" is no linear layer: A ${a.shape.join("×")}, B ${b.shape.join("×")}`,
    );
  const r = ranks.of(path) ?? config.r;
  const alpha = alphas.of(path) ?? config.lora_alpha;
  if (a.shape[0] !== r || b.shape[1] !== r) throw fail(`should have rank ${r}, has A ${a.shape.join("×")} and B ${b.shape.join("×")}`);
  const outputs = b.shape[0]!;
  const vector = (name: string, option: "use_dora" | "lora_bias"): T | undefined => {
    const found = of(name);
    if (!found && !config[option]) return undefined;
    if (!found) throw fail(`has no ${name}, which ${option} asks for`);
    if (!config[option]) throw fail(`has a ${name}, and ${option} is off`);
    if (found.shape.length !== 1 || found.shape[0] !== outputs)
      throw fail(`has a ${name} of [${found.shape.join(", ")}] beside B ${b.shape.join("×")}`);
    return found;
  };
  const magnitude = vector("lora_magnitude_vector", "use_dora");
  const bias = embedding ? undefined : vector("lora_B.bias", "lora_bias");
  return {
    a,
    b,
    r,
    alpha,
    scale: alpha / (config.use_rslora ? Math.sqrt(r) : r),
    embedding,
    ...(magnitude ? { magnitude } : {}),
    ...(bias ? { bias } : {}),
  };
}

/** A list of rows is that of the one embedding; by name it is found as PEFT finds modules. @throws {LfmError} FILE_FORMAT */
function tokenRows<T extends Pick<HostTensor, "shape">>(
  path: string,
  values: T,
  config: LoraPeftConfig | TrainableTokensPeftConfig,
): TokenRows<T> {
  const given = config.peft_type === "LORA" ? (config.trainable_token_indices ?? undefined) : config.token_indices;
  const rows =
    given === undefined || Array.isArray(given)
      ? given
      : Object.entries(given).find(([name]) => name === path || path.endsWith(`.${name}`))?.[1];
  if (!rows) throw new LfmError("FILE_FORMAT", `[@lfm/formats] the configuration says nowhere which rows of "${path}" the adapter holds`);
  if (values.shape.length !== 2 || values.shape[0] !== rows.length)
    throw new LfmError(
      "FILE_FORMAT",
      `[@lfm/formats] "${path}": ${rows.length} rows are named, the adapter holds [${values.shape.join(", ")}]`,
    );
  return { rows, values };
}
