import type { ModelInfo } from "@lfm/core";

/** Encoders that a head may be put on: what their checkpoints with one have in front of the encoder's names, and the parameter such a head has. */
const encoders: Readonly<Record<string, { readonly prefix: string; readonly head: string; readonly pooler?: boolean }>> = {
  bert: { prefix: "bert.", head: "classifier.weight", pooler: true },
  dinov2: { prefix: "dinov2.", head: "classifier.weight", pooler: false },
  distilbert: { prefix: "distilbert.", head: "pre_classifier.weight" },
  resnet: { prefix: "resnet.", head: "classifier.1.weight" },
  roberta: { prefix: "roberta.", head: "classifier.out_proj.weight" },
  "xlm-roberta": { prefix: "roberta.", head: "classifier.out_proj.weight" },
  vit: { prefix: "vit.", head: "classifier.weight", pooler: false },
};

const HEAD = /^(classifier|pre_classifier)(\.|$)/;

/** Whether a parameter is of the head that a classifier has on its encoder. */
export function isHeadParameter(name: string): boolean {
  return HEAD.test(name);
}

/** A head put onto an encoder leaves the encoder's names alone; in a file the encoder of a classifier has its prefix. */
export function storedName(name: string, info: Pick<ModelInfo, "architecture" | "task">): string {
  const prefix = encoders[info.architecture]?.prefix ?? "";
  return info.task !== "classifier" || name.startsWith(prefix) || HEAD.test(name) ? name : `${prefix}${name}`;
}

/**
 * Whether transformers has a class for the model as it stands. A linear head on the pooled vector is one on BERT; RoBERTa's and DistilBERT's have
 * a layer more, ViT's stands on the first position without a pooler.
 */
export function hasHubClass({ architecture, task, params }: ModelInfo): boolean {
  const encoder = encoders[architecture];
  if (task !== "classifier" || !encoder) return true;
  const pooled = Object.keys(params).some((name) => name.endsWith("pooler.dense.weight"));
  return encoder.head in params && (encoder.pooler ?? pooled) === pooled;
}
