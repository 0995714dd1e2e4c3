/** RoBERTa (arXiv 1907.11692) and XLM-R (arXiv 1911.02116): BERT whose positions begin behind the padding id, with a classifier of two layers. */
import {
  add,
  cast,
  cumSum,
  dimEqual,
  dimScalar,
  dropoutAt,
  equal,
  type Model,
  type ModelInfo,
  type ModelInput,
  mul,
  type Tensor,
  tanh,
  type Weights,
  where,
} from "@lfm/core";
import { z } from "zod";
import type { Embedded } from "../sequence.js";
import { siteLinear } from "../sites.js";
import { bertFields, bertSizes, classCount } from "./bert.js";
import { classificationHead } from "./classification-heads.js";
import { Declarations } from "./declarations.js";
import { type Build, parseConfig, type UncheckedConfig } from "./parse-config.js";
import { bertNames, declarePostNorm, encodePostNorm } from "./post-norm-encoder.js";

export const robertaConfigSchema = z.looseObject({
  model_type: z.enum(["roberta", "xlm-roberta"]).default("roberta"),
  ...bertFields,
  vocab_size: z.number().int().positive().default(50265),
  /** Positions are counted from behind it. */
  pad_token_id: z.number().int().nonnegative().default(1),
});
export type RobertaConfig = z.input<typeof robertaConfigSchema>;

/**
 * An encoder (`RobertaModel`, names without a prefix), or a classifier on the first token where `architectures` names
 * `RobertaForSequenceClassification` (names under `roberta.`); XLM-R by its `model_type`.
 * @throws {LfmError} CONFIG_INVALID for a config that is none of RoBERTa
 */
export const roberta: Build<RobertaConfig> = robertaFromConfig;

/** The same from a config that nothing is known of yet. */
export function robertaFromConfig(config: UncheckedConfig, weights: Weights = {}): Model {
  const c = parseConfig("roberta", robertaConfigSchema, config);
  const classes = c.architectures?.[0]?.endsWith("ForSequenceClassification") ? classCount(c) : undefined;
  const prefix = classes ? "roberta." : "";
  const pad = c.pad_token_id;
  const sizes = { ...bertSizes(c), paddingPosition: pad };
  const head = classificationHead(c.model_type);
  const pooler = c.add_pooling_layer && !classes;
  const d = new Declarations();
  declarePostNorm(d, sizes, bertNames, prefix);
  if (pooler) d.linear("pooler.dense", { kind: "pooler", in: c.hidden_size, out: c.hidden_size });
  if (classes) head.declare(d, c.hidden_size, classes);
  const find = d.byPath();
  const info: ModelInfo = {
    architecture: c.model_type,
    task: classes ? "classifier" : "encoder",
    input: "tokens",
    config: c,
    vocabSize: c.vocab_size,
    hiddenSize: c.hidden_size,
    layers: c.num_hidden_layers,
    heads: c.num_attention_heads,
    ...(classes ? { classes } : {}),
    maxLength: c.max_position_embeddings - pad - 1,
    params: d.params,
    sites: d.sites,
  };
  return {
    info,
    params: weights,
    forward: (params, input, context) => {
      const positions = (given: ModelInput, sequence: Embedded): Tensor => positionsBehind(pad, given, sequence);
      const { context: seen, ...out } = encodePostNorm(sizes, bertNames, prefix, find, params, input, context, positions);
      if (pooler) return { ...out, pooled: tanh(siteLinear(seen, find("pooler.dense"), params, out.pooled)) };
      if (!classes) return out;
      const rate = c.classifier_dropout ?? c.hidden_dropout_prob;
      return { ...out, logits: head.logits(seen, find, params, out.pooled, (x, label) => dropoutAt(x, rate, seen, label)) };
    },
  };
}

/**
 * pad + 1, pad + 2, … over the tokens that are not padding, which has the row `pad`, as transformers counts; where prompts stand in front or
 * embeddings are given, over all. Positions that the caller names are rows as they are.
 */
function positionsBehind(pad: number, input: ModelInput, { positions, prefix, skipped = 0 }: Embedded): Tensor {
  if (input.positions) return positions;
  if (!input.tokens || input.embeddings || !dimEqual(prefix, 0)) return add(positions, pad + 1);
  const counted = where(equal(input.tokens, pad), 0, 1);
  const upTo = dimEqual(skipped, 0) ? cumSum(counted, 1) : add(cumSum(counted, 1), dimScalar(skipped));
  return add(cast(mul(upTo, counted), "i32"), pad);
}
