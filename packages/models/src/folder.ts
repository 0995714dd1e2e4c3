import { join } from "node:path";
import { LfmError, type Model, type Weight } from "@lfm/core";
import {
  CONFIG_FLOATS,
  formatJson,
  hashWeights,
  hasTokenizer,
  loadTokenizer,
  readJsonObject,
  readWeights,
  type Tokenizer,
  writeSafetensors,
  writeTextFile,
} from "@lfm/formats";
import { modelFromConfig } from "./from-config.js";
import { readSentenceConfig, type SentenceConfig } from "./sentence-config.js";
import { storedName } from "./stored-names.js";
import { modelTokenizer } from "./text/model-tokenizer.js";
import { readTextRules, type TextRules } from "./text/text-rules.js";

export interface LoadedModel {
  /** Its weights still lie in their files: engines read them when they compile. */
  readonly model: Model;
  /** Where the folder has one: tokenizer.json, or vocabulary files. It gives no id that the model has no row for, and no batch beyond its positions. */
  readonly tokenizer?: Tokenizer;
  /** How text becomes ids and what ends it, where it has one. */
  readonly text?: TextRules;
  /** How a sentence-transformers folder wants its model used: options for createEncoder. */
  readonly sentence?: SentenceConfig;
  /** config.json as it stands. */
  readonly config: Readonly<Record<string, unknown>>;
  /** sha256 over names, dtypes, shapes and bytes of the weights: the parent that deltas record. */
  hash(): Promise<string>;
}

/**
 * Loads a Hugging Face folder: config.json, *.safetensors (sharded or not), a tokenizer where there is one.
 * @throws {LfmError} FILE_IO, FILE_FORMAT, CONFIG_INVALID, PARAM_NOT_FOUND, SHAPE_MISMATCH
 */
export async function loadModel(folder: string): Promise<LoadedModel> {
  const config = readJsonObject(join(folder, "config.json"));
  const { weights } = readWeights(folder);
  const model = modelFromConfig(config, weights);
  const tokenizer = hasTokenizer(folder) ? modelTokenizer(await loadTokenizer(folder), model.info) : undefined;
  const sentence = readSentenceConfig(folder);
  return {
    model,
    config,
    ...(sentence ? { sentence } : {}),
    ...(tokenizer ? { tokenizer, text: readTextRules(folder, tokenizer, config, model.info) } : {}),
    hash: () => hashWeights(model.params),
  };
}

export interface SaveOptions {
  /** Dtype of the float tensors in the file; default as they are. */
  readonly dtype?: "f32" | "bf16" | "f16";
}

const NONE_COUNTED: Weight = { dtype: "i64", shape: [], data: new BigInt64Array(1) };

const dtypeNames = { f32: "float32", bf16: "bfloat16", f16: "float16" } as const;

/**
 * Writes config.json and model.safetensors under Hugging Face names, so that transformers loads the folder.
 * @throws {LfmError} PARAM_NOT_FOUND for a model without weights, CAPABILITY_MISSING for one with deltas on it or a decoder with a head for classes,
 *   FILE_IO
 */
export async function saveModel(folder: string, model: Model, options: SaveOptions = {}): Promise<void> {
  const { info, params } = model;
  const foreign = Object.keys(params).find((name) => !(name in info.params));
  if (foreign !== undefined)
    throw new LfmError("CAPABILITY_MISSING", `[@lfm/models] saveModel: "${foreign}" is no parameter of ${info.architecture}`, {
      hint: "a model with deltas on it is saved as its base and the deltas",
    });
  const config = storedConfig(model, options);
  const tensors: Record<string, Weight> = {};
  for (const name of Object.keys(info.params)) {
    const weight = params[name];
    if (!weight) throw new LfmError("PARAM_NOT_FOUND", `[@lfm/models] saveModel: the model has no weights for "${name}"`);
    tensors[storedName(name, info)] = weight;
    // In transformers' classes batch norm counts the batches that it has seen; nothing reads it.
    if (info.architecture in heads && name.endsWith(".running_var"))
      tensors[storedName(name, info).replace(/running_var$/, "num_batches_tracked")] = NONE_COUNTED;
  }
  await writeSafetensors(join(folder, "model.safetensors"), tensors, {
    metadata: { format: "pt" },
    ...(options.dtype ? { dtype: options.dtype } : {}),
  });
  writeTextFile(join(folder, "config.json"), `${formatJson(config, { indent: 2, floats: CONFIG_FLOATS })}\n`);
}

const heads: Readonly<Record<string, Readonly<Record<string, string>>>> = {
  gpt2: { "causal-lm": "GPT2LMHeadModel" },
  llama: { "causal-lm": "LlamaForCausalLM" },
  mistral: { "causal-lm": "MistralForCausalLM" },
  mixtral: { "causal-lm": "MixtralForCausalLM" },
  qwen2: { "causal-lm": "Qwen2ForCausalLM" },
  qwen3: { "causal-lm": "Qwen3ForCausalLM" },
  phi3: { "causal-lm": "Phi3ForCausalLM" },
  gemma: { "causal-lm": "GemmaForCausalLM" },
  gemma2: { "causal-lm": "Gemma2ForCausalLM" },
  gemma3_text: { "causal-lm": "Gemma3ForCausalLM" },
  gpt_neox: { "causal-lm": "GPTNeoXForCausalLM" },
  bert: { encoder: "BertModel", classifier: "BertForSequenceClassification" },
  roberta: { encoder: "RobertaModel", classifier: "RobertaForSequenceClassification" },
  "xlm-roberta": { encoder: "XLMRobertaModel", classifier: "XLMRobertaForSequenceClassification" },
  distilbert: { encoder: "DistilBertModel", classifier: "DistilBertForSequenceClassification" },
  t5: { "seq2seq-lm": "T5ForConditionalGeneration" },
  vit: { encoder: "ViTModel", classifier: "ViTForImageClassification" },
  dinov2: { encoder: "Dinov2Model", classifier: "Dinov2ForImageClassification" },
  resnet: { encoder: "ResNetModel", classifier: "ResNetForImageClassification" },
};

function storedConfig({ info }: Model, options: SaveOptions): Record<string, unknown> {
  const kinds = heads[info.architecture];
  const kind = kinds?.[info.task];
  if (kinds && !kind && info.task === "classifier")
    throw new LfmError("CAPABILITY_MISSING", `[@lfm/models] saveModel: a ${info.architecture} with a head for classes is not read again`, {
      hint: "save what was learned as a delta on the decoder",
    });
  const dtype = options.dtype ? dtypeNames[options.dtype] : undefined;
  const labels = kind && info.classes ? classLabels(info.classes, info.config.id2label) : undefined;
  return {
    ...info.config,
    model_type: info.architecture,
    ...(kind ? { architectures: [kind] } : {}),
    ...(labels ? { id2label: labels, label2id: Object.fromEntries(Object.entries(labels).map(([i, l]) => [l, Number(i)])) } : {}),
    ...(dtype ? { dtype } : {}),
  };
}

function classLabels(classes: number, given: unknown): Record<string, string> {
  if (typeof given === "object" && given !== null && Object.keys(given).length === classes) return given as Record<string, string>;
  return Object.fromEntries(Array.from({ length: classes }, (_, i) => [String(i), `LABEL_${i}`]));
}
