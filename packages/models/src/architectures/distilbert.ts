/** DistilBERT (arXiv 1910.01108): half of BERT's layers, without segments and without a pooler; a classifier of two layers on the first token. */
import { dropoutAt, type Model, type ModelInfo, type Weights } from "@lfm/core";
import { z } from "zod";
import { activationName } from "./activations.js";
import { classCount } from "./bert.js";
import { classificationHead } from "./classification-heads.js";
import { Declarations } from "./declarations.js";
import { type Build, commonFields, dropoutRate, neutral, paddingToken, parseConfig, type UncheckedConfig } from "./parse-config.js";
import { declarePostNorm, encodePostNorm, type PostNormNames, type PostNormSizes } from "./post-norm-encoder.js";

export const distilbertConfigSchema = z.looseObject({
  model_type: z.literal("distilbert").default("distilbert"),
  ...commonFields,
  vocab_size: z.number().int().positive().default(30522),
  pad_token_id: paddingToken.default(0),
  max_position_embeddings: z.number().int().positive().default(512),
  n_layers: z.number().int().positive().default(6),
  n_heads: z.number().int().positive().default(12),
  dim: z.number().int().positive().default(768),
  hidden_dim: z.number().int().positive().default(3072),
  dropout: dropoutRate(0.1),
  attention_dropout: dropoutRate(0.1),
  seq_classif_dropout: dropoutRate(0.2),
  activation: activationName.default("gelu"),
  // How positions begin; the dropout and the tie of heads that are other models.
  ...neutral("sinusoidal_pos_embds", "qa_dropout", "tie_word_embeddings"),
});
export type DistilbertConfig = z.input<typeof distilbertConfigSchema>;

const names: PostNormNames = {
  block: (layer) => `transformer.layer.${layer}`,
  attention: ".attention",
  q: ".attention.q_lin",
  k: ".attention.k_lin",
  v: ".attention.v_lin",
  kv: ".attention.kv",
  scores: ".attention.scores",
  o: ".attention.out_lin",
  attentionNorm: ".sa_layer_norm",
  mlp: ".ffn",
  in: ".ffn.lin1",
  out: ".ffn.lin2",
  outNorm: ".output_layer_norm",
};

/**
 * An encoder (`DistilBertModel`, names without a prefix, `pooled` the last state of the first token), or a classifier where `architectures` names
 * `DistilBertForSequenceClassification` (names under `distilbert.`).
 * @throws {LfmError} CONFIG_INVALID for a config that is none of DistilBERT
 */
export const distilbert: Build<DistilbertConfig> = distilbertFromConfig;

/** The same from a config that nothing is known of yet. */
export function distilbertFromConfig(config: UncheckedConfig, weights: Weights = {}): Model {
  const c = parseConfig("distilbert", distilbertConfigSchema, config);
  const classes = c.architectures?.[0]?.endsWith("ForSequenceClassification") ? classCount(c) : undefined;
  const prefix = classes ? "distilbert." : "";
  const sizes: PostNormSizes = {
    vocabulary: c.vocab_size,
    width: c.dim,
    inner: c.hidden_dim,
    layers: c.n_layers,
    heads: c.n_heads,
    positions: c.max_position_embeddings,
    padding: c.pad_token_id,
    epsilon: 1e-12,
    activation: c.activation,
    dropout: c.dropout,
    attentionDropout: c.attention_dropout,
    attendedDropout: 0,
  };
  const head = classificationHead("distilbert");
  const d = new Declarations();
  declarePostNorm(d, sizes, names, prefix);
  if (classes) head.declare(d, c.dim, classes);
  const find = d.byPath();
  const info: ModelInfo = {
    architecture: "distilbert",
    task: classes ? "classifier" : "encoder",
    input: "tokens",
    config: c,
    vocabSize: c.vocab_size,
    hiddenSize: c.dim,
    layers: c.n_layers,
    heads: c.n_heads,
    ...(classes ? { classes } : {}),
    maxLength: c.max_position_embeddings,
    params: d.params,
    sites: d.sites,
  };
  return {
    info,
    params: weights,
    forward: (params, input, context) => {
      const { context: seen, ...out } = encodePostNorm(sizes, names, prefix, find, params, input, context);
      if (!classes) return out;
      return {
        ...out,
        logits: head.logits(seen, find, params, out.pooled, (x, label) => dropoutAt(x, c.seq_classif_dropout, seen, label)),
      };
    },
  };
}
