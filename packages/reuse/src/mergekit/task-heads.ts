import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { LfmError } from "@lfm/core";
import type { PeftConfig } from "@lfm/formats";
import { z } from "zod";
import type { TensorSource } from "../merging/plan.js";
import { isHead } from "./layout.js";
import { shapeOf } from "./tensor-types.js";

/** What stands on an encoder or decoder for one task, by the names that transformers' models have for it. */
const TASK_HEAD = /^(classifier|score|qa_outputs|pre_classifier|classification_head|regression_head|logits_proj|multi_choice_predictor)\./;
/** Output layers of pre-training. */
const TRAINING_HEAD =
  /^(cls|lm_head|embed_out|vocab_transform|vocab_layer_norm|vocab_projector|generator_predictions|generator_lm_head|discriminator_predictions|predictions|mlm_head)\./;

/** Whether a tensor is of a head for one task: classes, scores, spans. */
export function isTaskHead(name: string): boolean {
  return TASK_HEAD.test(name);
}

/** Whether a tensor is of anything that stands on the model's body, output layers over tokens included. */
export function isAnyHead(name: string): boolean {
  return TASK_HEAD.test(name) || TRAINING_HEAD.test(name) || isHead(name);
}

export interface AddedHead {
  /** Names of its tensors, which are in the model. */
  readonly heads: readonly string[];
  /** Folder of the adapter, where labels.json may name the classes. */
  readonly folder: string;
  readonly task: PeftConfig["task_type"];
  /** The model as the configuration names it. */
  readonly text: string;
}

/**
 * The config of a model that an adapter has given a head: the class of transformers that has such a head, and names of classes. The model's
 * tensors take the names that they have under it, and heads for other things go.
 * @param model changed in place
 * @throws {LfmError} FILE_FORMAT for labels that are no list of names, or not as many as classes
 */
export function withTaskHead(
  model: Map<string, TensorSource>,
  config: Readonly<Record<string, unknown>>,
  { heads, folder, task, text }: AddedHead,
): { readonly config: Readonly<Record<string, unknown>>; readonly notes: readonly string[] } {
  const dropped = [...model.keys()].filter((name) => isAnyHead(name) && !isTaskHead(name));
  for (const name of dropped) model.delete(name);
  const type = String(config.model_type);
  const prefix = `${PREFIXES[type] ?? type}.`;
  if (![...model.keys()].some((name) => name.startsWith(prefix))) {
    const renamed = [...model].map(([name, source]) => [isTaskHead(name) ? name : `${prefix}${name}`, source] as const);
    model.clear();
    for (const [name, source] of renamed) model.set(name, source);
  }
  const architecture = headedArchitecture(config, task);
  const weight = heads.filter((name) => name.endsWith(".weight")).at(-1);
  const classes = weight === undefined ? undefined : shapeOf(model.get(weight)!)[0]!;
  const labels = classes === undefined ? undefined : classLabels(folder, config, classes, text);
  const spoken = labels?.given ? labels.names.join(", ") : `${classes} classes without names`;
  return {
    config: {
      ...config,
      ...(architecture === undefined ? {} : { architectures: [architecture] }),
      ...(labels ? labelled(labels.names) : {}),
      ...("num_labels" in config && classes !== undefined ? { num_labels: classes } : {}),
    },
    notes: [
      `"${text}": the adapter brings a head (${spoken})${architecture === undefined ? "" : `, the model is a ${architecture} with it`}${dropped.length > 0 ? `; ${dropped.join(", ")} had its place and are left out` : ""}`,
    ],
  };
}

/** The config of a model's body alone: `BertForSequenceClassification` becomes `BertModel`, its labels go. */
export function withoutHead(config: Readonly<Record<string, unknown>>): Readonly<Record<string, unknown>> {
  const { id2label: _i, label2id: _l, num_labels: _n, problem_type: _p, ...rest } = config;
  const [given] = (config.architectures ?? []) as readonly unknown[];
  const stem = typeof given === "string" ? stemOf(given) : undefined;
  return { ...rest, ...(stem === undefined ? {} : { architectures: [`${stem}Model`] }) };
}

/** `Bert` of `BertForSequenceClassification`. */
function stemOf(architecture: string): string | undefined {
  return /^(\w+?)(?:LMHeadModel|PreTrainedModel|Model|For[A-Z]\w*)$/.exec(architecture)?.[1];
}

/** `id2label` and `label2id` of a config. */
function labelled(names: readonly string[]): Readonly<Record<string, unknown>> {
  return { id2label: Object.fromEntries(names.map((n, i) => [String(i), n])), label2id: Object.fromEntries(names.map((n, i) => [n, i])) };
}

/** transformers' `base_model_prefix`, where it is not the model's type. */
const PREFIXES: Readonly<Record<string, string>> = {
  "xlm-roberta": "roberta",
  camembert: "roberta",
  "deberta-v2": "deberta",
  gpt2: "transformer",
  llama: "model",
  mistral: "model",
  mixtral: "model",
  modernbert: "model",
  phi3: "model",
  qwen2: "model",
  qwen3: "model",
  gemma: "model",
  gemma2: "model",
  gemma3_text: "model",
};

const SUFFIXES: Readonly<Record<string, string>> = {
  SEQ_CLS: "ForSequenceClassification",
  TOKEN_CLS: "ForTokenClassification",
  QUESTION_ANS: "ForQuestionAnswering",
};

const IMAGE_MODELS = /^(vit|dinov2|beit|deit|swin|resnet|convnext)/;

/** `BertModel` with a head for texts: `BertForSequenceClassification`. Undefined where the config names no class. */
function headedArchitecture(config: Readonly<Record<string, unknown>>, task: PeftConfig["task_type"]): string | undefined {
  const [given] = (config.architectures ?? []) as readonly unknown[];
  const stem = typeof given === "string" ? stemOf(given) : STEMS[String(config.model_type)];
  if (stem === undefined) return undefined;
  const image = IMAGE_MODELS.test(String(config.model_type));
  return `${stem}${image ? "ForImageClassification" : (SUFFIXES[task ?? "SEQ_CLS"] ?? SUFFIXES.SEQ_CLS)}`;
}

const STEMS: Readonly<Record<string, string>> = {
  bert: "Bert",
  roberta: "Roberta",
  distilbert: "DistilBert",
  vit: "ViT",
  dinov2: "Dinov2",
};

/** The names beside the adapter, those of the config where they are as many, or transformers' own. */
function classLabels(
  folder: string,
  config: Readonly<Record<string, unknown>>,
  classes: number,
  text: string,
): { readonly names: readonly string[]; readonly given: boolean } {
  const path = join(folder, "labels.json");
  if (existsSync(path)) {
    const names = readLabels(path);
    if (names.length !== classes)
      throw new LfmError("FILE_FORMAT", `[@lfm/reuse] "${text}": ${path} names ${names.length} classes, the adapter's head has ${classes}`);
    return { names, given: true };
  }
  const own = labelsOf(config);
  if (own?.length === classes) return { names: own, given: true };
  return { names: Array.from({ length: classes }, (_, i) => `LABEL_${i}`), given: false };
}

/** Names of a config's classes in their order; undefined without any. */
export function labelsOf(config: Readonly<Record<string, unknown>>): readonly string[] | undefined {
  const parsed = z.record(z.string(), z.string()).safeParse(config.id2label);
  if (!parsed.success) return undefined;
  return Object.entries(parsed.data)
    .sort(([a], [b]) => Number(a) - Number(b))
    .map(([, name]) => name);
}

/** @throws {LfmError} FILE_FORMAT */
function readLabels(path: string): readonly string[] {
  try {
    return z
      .array(z.string())
      .min(1)
      .parse(JSON.parse(readFileSync(path, "utf8")));
  } catch (cause) {
    throw new LfmError("FILE_FORMAT", `[@lfm/reuse] ${path} is no list of names of classes`, { cause });
  }
}
