import { type FileTensor, LfmError, loadWeight, widenToF32 } from "@lfm/core";
import type { LoraLayer, TokenRows } from "@lfm/formats";
import type { TensorSource } from "../merging/plan.js";
import { isSameData } from "./buffers.js";
import { isHead, layoutOf } from "./layout.js";
import { shapeOf, storedTensor } from "./tensor-types.js";

/** A model whose output layer is its embedding. */
export interface TiedOutput {
  /** The embedding's tensor. */
  readonly embedding: string;
  /** What the output layer's would be called. */
  readonly head: string;
}

/** Encoders have no output layer over tokens. */
const LANGUAGE_MODEL = /(ForCausalLM|LMHeadModel|LMHead|ForConditionalGeneration|ForMaskedLM|ForPreTraining)$/;
const DECODERS =
  /^(gpt2|gpt_neo|gpt_neox|gptj|opt|bloom|falcon|mpt|stablelm|starcoder2|phi|llama|mistral|mixtral|qwen|gemma|cohere|olmo|smollm|granite)/;

/** The output layer that a model has by its config and not in its file; undefined for a model that has one of its own, or none at all. */
export function tiedOutput(model: ReadonlyMap<string, TensorSource>, config: Readonly<Record<string, unknown>>): TiedOutput | undefined {
  if ([...model.keys()].some(isHead)) return undefined;
  const { embedding } = layoutOf(new Map([...model].map(([name, t]) => [name, shapeOf(t)])));
  const [architecture] = (config.architectures ?? []) as readonly unknown[];
  const type = String(config.model_type);
  const isLanguageModel = typeof architecture === "string" ? LANGUAGE_MODEL.test(architecture) : DECODERS.test(type);
  if (embedding === undefined || !isLanguageModel) return undefined;
  return { embedding, head: HEADS[type] ?? "lm_head.weight" };
}

const HEADS: Readonly<Record<string, string>> = {
  bert: "cls.predictions.decoder.weight",
  distilbert: "vocab_projector.weight",
  gpt_neox: "embed_out.weight",
  roberta: "lm_head.decoder.weight",
};

/** What an adapter has for one of the two. */
export interface OutputParts {
  readonly parameter: FileTensor | undefined;
  readonly layer: LoraLayer<FileTensor> | undefined;
  readonly tokens: TokenRows<FileTensor> | undefined;
}

/**
 * Whether embedding and output layer are still one with what an adapter has for each. PEFT writes copies for what is tied in it; these are compared,
 * value by value.
 * @param saved the embedding was trained in full as a module of its own (`modules_to_save`): the output layer keeps the base's values
 */
export function staysTied(base: TensorSource, embedding: OutputParts, head: OutputParts, { saved }: { readonly saved: boolean }): boolean {
  const own = embedding.parameter ? storedTensor("embedding", embedding.parameter) : base;
  const other = head.parameter ? storedTensor("head", head.parameter) : saved ? base : own;
  if (!isSameData(own, other)) return false;
  if (head.tokens && !sameRows(embedding.tokens, head.tokens)) return false;
  if (!embedding.layer || !head.layer) return embedding.layer === head.layer;
  return sameChange(embedding.layer, head.layer);
}

function sameRows(a: TokenRows<FileTensor> | undefined, b: TokenRows<FileTensor>): boolean {
  return a !== undefined && a.rows.join() === b.rows.join() && isSameData(storedTensor("a", a.values), storedTensor("b", b.values));
}

/** ΔW of the table [tokens, hidden]: (B·A)ᵀ of an embedding, B·A of the linear layer; tied factors are each other's transposes. */
function sameChange(embedding: LoraLayer<FileTensor>, head: LoraLayer<FileTensor>): boolean {
  if (embedding.scale !== head.scale || embedding.magnitude || head.magnitude || head.bias) return false;
  return isTransposed(embedding.a, head.b) && isTransposed(embedding.b, head.a);
}

function isTransposed(a: FileTensor, b: FileTensor): boolean {
  const [rows, columns] = a.shape as readonly [number, number];
  if (b.shape[0] !== columns || b.shape[1] !== rows) return false;
  const [x, y] = [widenToF32(loadWeight(a)).data, widenToF32(loadWeight(b)).data];
  for (let i = 0; i < rows; i++) for (let j = 0; j < columns; j++) if (x[i * columns + j] !== y[j * rows + i]) return false;
  return true;
}

/** @throws {LfmError} OP_UNSUPPORTED for models that scale what goes into a tied output layer */
export function untiedConfig(config: Readonly<Record<string, unknown>>, text: string): Readonly<Record<string, unknown>> {
  const type = String(config.model_type);
  if (/^(t5|mt5|umt5|longt5|switch_transformers|pix2struct)/.test(type))
    throw new LfmError(
      "OP_UNSUPPORTED",
      `[@lfm/reuse] "${text}": the adapter makes embedding and output layer two, and ${type} scales what goes into an output layer that is the embedding`,
      { hint: "save the model with untied weights first, and train the adapter on that" },
    );
  const section = config.text_config as Readonly<Record<string, unknown>> | undefined;
  return {
    ...config,
    tie_word_embeddings: false,
    ...(section && "tie_word_embeddings" in section ? { text_config: { ...section, tie_word_embeddings: false } } : {}),
  };
}
