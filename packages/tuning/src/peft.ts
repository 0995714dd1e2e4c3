import { type Delta, type HostTensor, LfmError, type Model, nearestName, type Site } from "@lfm/core";
import { loraParts, type PeftAdapter, type PeftConfigInput, readPeftAdapter, writePeftAdapter } from "@lfm/formats";
import { type LoraConfig, lora, loraScale } from "./methods/lora.js";
import { prompt } from "./methods/prompt.js";

/** `model.layers.0.self_attn.q_proj.lora_A.weight` → the path of its site. */
const LORA_TENSOR = /^(.*)\.lora_[AB]\.weight$/;

export interface ToPeftOptions {
  /** Name or path of the base, written as `base_model_name_or_path`. */
  readonly base?: string;
}

/**
 * Saves a LoRA or a prompt as PEFT does: `PeftModel.from_pretrained(base, folder)` loads it. Parameters that learned in full stand under `modules_to_save`.
 * @throws {LfmError} CONFIG_INVALID for deltas that have no form in PEFT; FILE_IO
 */
export async function toPeft(folder: string, delta: Delta, model: Model, options: ToPeftOptions = {}): Promise<void> {
  const common = { task_type: taskType(model), base_model_name_or_path: options.base ?? null };
  if (delta.method === "tuning/prompt") {
    const { prompt_embeddings: embeddings, ...others } = delta.tensors;
    if (Object.keys(others).length > 0) {
      throw new LfmError("CONFIG_INVALID", "[@lfm/tuning] a prompt with other trained parameters has no form in PEFT");
    }
    const { heads, layers, hiddenSize } = model.info;
    const sizes = {
      num_virtual_tokens: embeddings!.shape[0]!,
      token_dim: hiddenSize,
      num_layers: layers,
      num_attention_heads: heads ?? null,
    };
    const config = { peft_type: "PROMPT_TUNING", ...common, ...sizes, num_transformer_submodules: 1 } as PeftConfigInput;
    return writePeftAdapter(folder, { config, tensors: delta.tensors });
  }
  if (delta.method !== "tuning/lora") {
    throw new LfmError("CONFIG_INVALID", `[@lfm/tuning] ${delta.method} has no form in PEFT`, { hint: "lora and prompt have" });
  }
  const c = delta.config as LoraConfig;
  const paths = [...new Set(Object.keys(delta.tensors).flatMap((name) => LORA_TENSOR.exec(name)?.[1] ?? []))];
  const full = Object.keys(delta.tensors).filter((name) => !LORA_TENSOR.test(name));
  const modules = [...new Set(full.map((name) => name.slice(0, name.lastIndexOf("."))))];
  const config = {
    peft_type: "LORA",
    ...common,
    r: c.r,
    lora_alpha: c.loraAlpha,
    lora_dropout: c.loraDropout,
    use_rslora: c.useRslora,
    fan_in_fan_out: model.info.sites.some((s) => paths.includes(s.path) && s.weight?.layout === "in-out"),
    target_modules: paths,
    ...(modules.length > 0 ? { modules_to_save: modules } : {}),
  };
  await writePeftAdapter(folder, { config: config as PeftConfigInput, tensors: delta.tensors });
}

/**
 * The delta of an adapter that PEFT saved (LoRA, rsLoRA, patterns of rank and α, modules_to_save; prompt tuning).
 * @throws {LfmError} OP_UNSUPPORTED for kinds and options that have no delta here (DoRA, trained biases of B, embeddings);
 *   PARAM_NOT_FOUND for a module that the model does not have; FILE_FORMAT
 */
export function fromPeft(folder: string, model: Model, options: { readonly parent?: string } = {}): Delta {
  const adapter = readPeftAdapter(folder);
  const parent = options.parent ?? null;
  if (adapter.config.peft_type === "PROMPT_TUNING") return promptDelta(adapter, model, parent);
  if (adapter.config.peft_type !== "LORA") {
    throw new LfmError("OP_UNSUPPORTED", `[@lfm/tuning] an adapter of type ${adapter.config.peft_type} has no delta here`, {
      hint: "LORA and PROMPT_TUNING have",
    });
  }
  const { layers, parameters } = loraParts(adapter);
  const config: LoraConfig = lora.config.parse({
    r: adapter.config.r,
    loraAlpha: adapter.config.lora_alpha,
    loraDropout: Math.min(0.99, adapter.config.lora_dropout as number),
    useRslora: adapter.config.use_rslora,
    targetModules: Object.keys(layers),
  });
  const scale = loraScale(config);
  const tensors: Record<string, HostTensor> = {};
  for (const [path, layer] of Object.entries(layers)) {
    const refused = layer.magnitude ? "DoRA" : layer.bias ? "lora_bias" : layer.embedding ? "LoRA of an embedding" : undefined;
    if (refused) throw new LfmError("OP_UNSUPPORTED", `[@lfm/tuning] ${refused} of "${path}" has no delta here`);
    const site = siteOf(model, path);
    expectShape(`${path}.lora_A.weight`, layer.a, [layer.r, site.weight!.in]);
    expectShape(`${path}.lora_B.weight`, layer.b, [site.weight!.out, layer.r]);
    tensors[`${site.path}.lora_A.weight`] = layer.a;
    // Where a layer has a scale of its own, B takes up what differs.
    const factor = layer.scale / scale;
    tensors[`${site.path}.lora_B.weight`] =
      factor === 1 ? layer.b : { ...layer.b, data: (layer.b.data as Float32Array).map((v) => v * factor) };
  }
  for (const [name, t] of Object.entries(parameters)) {
    if (isTiedCopy(model, name, parameters)) continue;
    const own = parameterOf(model, name);
    expectShape(name, t, model.info.params[own]!.shape);
    tensors[own] = t;
  }
  return { kind: "weights", method: "tuning/lora", config, parent, tensors, hooks: lora.hooksFor!(config) };
}

function promptDelta(adapter: PeftAdapter, model: Model, parent: string | null): Delta {
  const { prompt_embeddings: embeddings } = adapter.tensors;
  if (!embeddings) throw new LfmError("FILE_FORMAT", "[@lfm/tuning] the adapter holds no prompt_embeddings");
  expectShape("prompt_embeddings", embeddings, [embeddings.shape[0]!, model.info.hiddenSize]);
  const config = prompt.config.parse({ numVirtualTokens: embeddings.shape[0] });
  return {
    kind: "input",
    method: "tuning/prompt",
    config,
    parent,
    tensors: { prompt_embeddings: embeddings },
    hooks: prompt.hooksFor!(config),
  };
}

/** PEFT names modules of the whole model; an encoder of ours may be that model without its outermost name (`bert.`). */
function siteOf(model: Model, path: string): Site {
  const linear = model.info.sites.filter((s) => s.weight && (s.kind === "linear" || s.kind === "head"));
  const found = linear.find((s) => s.path === path || path.endsWith(`.${s.path}`) || s.path.endsWith(`.${path}`));
  if (found) return found;
  const near = nearestName(
    path,
    linear.map((s) => s.path),
  );
  throw new LfmError(
    "PARAM_NOT_FOUND",
    `[@lfm/tuning] the model has no layer "${path}", which the adapter changes`,
    near ? { hint: `did you mean "${near}"?` } : {},
  );
}

function parameterOf(model: Model, name: string): string {
  const found = Object.keys(model.info.params).find((p) => p === name || name.endsWith(`.${p}`) || p.endsWith(`.${name}`));
  if (found) return found;
  throw new LfmError("PARAM_NOT_FOUND", `[@lfm/tuning] the model has no parameter "${name}", which the adapter replaces`);
}

/** PEFT unties what it saves: an output layer that is the embedding stands in the file a second time. @throws {LfmError} OP_UNSUPPORTED where both differ */
function isTiedCopy(model: Model, name: string, parameters: Readonly<Record<string, HostTensor>>): boolean {
  const head = model.info.sites.find(
    (s) => s.kind === "head" && s.weight !== undefined && s.weight.name !== name && `${s.path}.weight` === name,
  );
  const shared = head && parameters[head.weight!.name];
  if (!shared) return false;
  if (shared.data.length === parameters[name]!.data.length && shared.data.every((v, i) => v === parameters[name]!.data[i])) return true;
  throw new LfmError(
    "OP_UNSUPPORTED",
    `[@lfm/tuning] the adapter has a "${name}" of its own, which the model shares with "${head!.weight!.name}"`,
  );
}

function taskType(model: Model): string | null {
  return { "causal-lm": "CAUSAL_LM", classifier: "SEQ_CLS", encoder: "FEATURE_EXTRACTION", regressor: null }[model.info.task];
}

function expectShape(name: string, t: HostTensor, shape: readonly number[]): void {
  if (t.shape.join() !== shape.join())
    throw new LfmError("SHAPE_MISMATCH", `[@lfm/tuning] the adapter's "${name}" is [${t.shape}], this model needs [${shape}]`);
}
