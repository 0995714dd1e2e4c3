/** BERT (arXiv 1810.04805): post-norm encoder with segment embeddings and a pooler; classification head by option. Names as in the HF checkpoint. */
import { dropoutAt, type Model, type ModelInfo, tanh, type Weights } from "@lfm/core";
import { z } from "zod";
import { siteLinear } from "../sites.js";
import { activationName } from "./activations.js";
import { classificationHead } from "./classification-heads.js";
import { Declarations } from "./declarations.js";
import { type Build, commonFields, dropoutRate, neutral, only, paddingToken, parseConfig, type UncheckedConfig } from "./parse-config.js";
import { bertNames, declarePostNorm, encodePostNorm, type PostNormSizes } from "./post-norm-encoder.js";

/** What RoBERTa's config has too. */
export const bertFields = {
  ...commonFields,
  vocab_size: z.number().int().positive().default(30522),
  hidden_size: z.number().int().positive().default(768),
  num_hidden_layers: z.number().int().positive().default(12),
  num_attention_heads: z.number().int().positive().default(12),
  intermediate_size: z.number().int().positive().default(3072),
  hidden_act: activationName.default("gelu"),
  max_position_embeddings: z.number().int().positive().default(512),
  position_embedding_type: only("absolute"),
  is_decoder: only(false),
  add_cross_attention: only(false),
  pad_token_id: paddingToken.default(0),
  type_vocab_size: z.number().int().positive().default(2),
  layer_norm_eps: z.number().positive().default(1e-12),
  hidden_dropout_prob: dropoutRate(0.1),
  attention_probs_dropout_prob: dropoutRate(0.1),
  classifier_dropout: z.number().min(0).lt(1).nullish(),
  add_pooling_layer: z.boolean().default(true),
  // Of the head of pre-training, which is another model.
  ...neutral("tie_word_embeddings"),
} as const;

export const bertConfigSchema = z.looseObject({ model_type: z.literal("bert").default("bert"), ...bertFields });
export type BertConfig = z.input<typeof bertConfigSchema>;
type Fields = z.output<z.ZodObject<typeof bertFields>>;

/** The sizes under their names in BERT's and RoBERTa's configs. */
export function bertSizes(c: Fields): PostNormSizes {
  return {
    vocabulary: c.vocab_size,
    width: c.hidden_size,
    inner: c.intermediate_size,
    layers: c.num_hidden_layers,
    heads: c.num_attention_heads,
    positions: c.max_position_embeddings,
    segments: c.type_vocab_size,
    padding: c.pad_token_id,
    epsilon: c.layer_norm_eps,
    activation: c.hidden_act,
    dropout: c.hidden_dropout_prob,
    attentionDropout: c.attention_probs_dropout_prob,
    attendedDropout: c.hidden_dropout_prob,
  };
}

/**
 * An encoder (`BertModel`, names without a prefix), or a classifier on the pooled vector where `architectures` names
 * `BertForSequenceClassification` (names under `bert.`, classes from `id2label` or `num_labels`).
 * @throws {LfmError} CONFIG_INVALID for a config that is none of BERT
 */
export const bert: Build<BertConfig> = bertFromConfig;

/** The same from a config that nothing is known of yet. */
export function bertFromConfig(config: UncheckedConfig, weights: Weights = {}): Model {
  const c = parseConfig("bert", bertConfigSchema, config);
  const classes = c.architectures?.[0]?.endsWith("ForSequenceClassification") ? classCount(c) : undefined;
  const prefix = classes ? "bert." : "";
  const sizes = bertSizes(c);
  const head = classificationHead("bert");
  const d = new Declarations();
  declarePostNorm(d, sizes, bertNames, prefix);
  if (c.add_pooling_layer) d.linear(`${prefix}pooler.dense`, { kind: "pooler", in: c.hidden_size, out: c.hidden_size });
  if (classes) head.declare(d, c.hidden_size, classes);
  const find = d.byPath();
  const info: ModelInfo = {
    architecture: "bert",
    task: classes ? "classifier" : "encoder",
    input: "tokens",
    config: c,
    vocabSize: c.vocab_size,
    hiddenSize: c.hidden_size,
    layers: c.num_hidden_layers,
    heads: c.num_attention_heads,
    ...(classes ? { classes } : {}),
    maxLength: c.max_position_embeddings,
    params: d.params,
    sites: d.sites,
  };
  return {
    info,
    params: weights,
    forward: (params, input, context) => {
      const { context: seen, ...out } = encodePostNorm(sizes, bertNames, prefix, find, params, input, context);
      const pooled = c.add_pooling_layer ? tanh(siteLinear(seen, find(`${prefix}pooler.dense`), params, out.pooled)) : out.pooled;
      if (!classes) return { ...out, pooled };
      const rate = c.classifier_dropout ?? c.hidden_dropout_prob;
      return { ...out, pooled, logits: head.logits(seen, find, params, pooled, (x, label) => dropoutAt(x, rate, seen, label)) };
    },
  };
}

/** Classes of a classifier's config; transformers' default is 2. */
export function classCount(c: { readonly num_labels?: number | null | undefined; readonly id2label?: object | null | undefined }): number {
  return c.num_labels ?? (c.id2label ? Object.keys(c.id2label).length : 2);
}
