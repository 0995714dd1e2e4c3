/** BERT (arXiv 1810.04805): post-norm encoder with segment embeddings and a pooler; classification head by option. Names as in the HF checkpoint. */
import {
  add,
  broadcastTo,
  concat,
  constant,
  dimEqual,
  dropoutAt,
  type ForwardContext,
  full,
  gather,
  type HookContext,
  i32,
  type Model,
  type ModelInfo,
  type ModelInput,
  type Outputs,
  type ParamTree,
  type Site,
  slice,
  squeeze,
  type Tensor,
  tanh,
  type Weights,
} from "@lfm/core";
import { z } from "zod";
import { attend } from "../attention.js";
import { embedSequence } from "../sequence.js";
import { param, siteAround, siteLayerNorm, siteLinear } from "../sites.js";
import { activation, activationName } from "./activations.js";
import { Declarations } from "./declarations.js";
import { type Build, commonFields, dropoutRate, neutral, only, paddingToken, parseConfig, type UncheckedConfig } from "./parse-config.js";

export const bertConfigSchema = z.looseObject({
  model_type: z.literal("bert").default("bert"),
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
});
export type BertConfig = z.input<typeof bertConfigSchema>;
type Config = z.output<typeof bertConfigSchema>;

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
  const declared = declare(c, prefix, classes);
  const find = declared.byPath();
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
    params: declared.params,
    sites: declared.sites,
  };
  return {
    info,
    params: weights,
    forward: (params, input, context) => {
      const { context: seen, ...out } = encode(c, prefix, find, params, input, context);
      if (!classes) return out;
      const pooled = dropoutAt(out.pooled, c.classifier_dropout ?? c.hidden_dropout_prob, seen, "dropout");
      return { ...out, logits: siteLinear(seen, find("classifier"), params, pooled) };
    },
  };
}

/** Classes of a classifier's config; transformers' default is 2. */
export function classCount(c: { readonly num_labels?: number | null | undefined; readonly id2label?: object | null | undefined }): number {
  return c.num_labels ?? (c.id2label ? Object.keys(c.id2label).length : 2);
}

function encode(
  c: Config,
  prefix: string,
  find: (path: string) => Site,
  params: ParamTree,
  input: ModelInput,
  given: ForwardContext,
): Outputs & { readonly context: HookContext; readonly pooled: Tensor } {
  const site = (path: string): Site => find(`${prefix}${path}`);
  const sequence = embedSequence(site("embeddings.word_embeddings"), params, input, given, { padding: c.pad_token_id });
  const { mask, context } = sequence;
  const act = activation(c.hidden_act);
  const table = (name: string): Tensor => param(params, `${prefix}embeddings.${name}.weight`);
  const words = add(sequence.embeddings, segmentEmbeddings(table("token_type_embeddings"), input, sequence));
  const summed = add(words, gather(table("position_embeddings"), sequence.positions));
  const norm = site("embeddings.LayerNorm");
  let x = dropoutAt(siteLayerNorm(context, norm, params, summed, c.layer_norm_eps), c.hidden_dropout_prob, context, norm.path);
  const hidden: Tensor[] = [x];
  const attentions: Tensor[] = [];
  for (let i = 0; i < c.num_hidden_layers; i++) {
    const at = (name: string): Site => site(`encoder.layer.${i}${name}`);
    x = siteAround(context, at(""), x, (h0, context) => {
      const linear = (name: string, h: Tensor): Tensor => siteLinear(context, at(name), params, h);
      const dropped = (name: string, h: Tensor): Tensor => dropoutAt(linear(name, h), c.hidden_dropout_prob, context, at(name).path);
      const attention = (h: Tensor): Tensor => {
        const part = (name: string): Tensor => linear(`.attention.self.${name}`, h);
        const sites = { kv: at(".attention.self.kv"), scores: at(".attention.self.scores") };
        const attended = attend(context, sites, part("query"), part("key"), part("value"), {
          heads: c.num_attention_heads,
          mask,
          causal: false,
          dropout: c.attention_probs_dropout_prob,
        });
        attentions.push(attended.weights);
        return dropped(".attention.output.dense", attended.mixed);
      };
      const mlp = (h: Tensor): Tensor => dropped(".output.dense", act(linear(".intermediate.dense", h)));
      const attended = add(h0, siteAround(context, at(".attention"), h0, attention));
      const h1 = siteLayerNorm(context, at(".attention.output.LayerNorm"), params, attended, c.layer_norm_eps);
      return siteLayerNorm(context, at(".output.LayerNorm"), params, add(h1, siteAround(context, at(".mlp"), h1, mlp)), c.layer_norm_eps);
    });
    hidden.push(x);
  }
  const want = context.want ?? {};
  const first = squeeze(slice(x, 1, sequence.prefix, 1), 1);
  return {
    last: x,
    pooled: c.add_pooling_layer ? tanh(siteLinear(context, site("pooler.dense"), params, first)) : first,
    prefix: sequence.prefix,
    context,
    ...(want.hidden ? { hidden } : {}),
    ...(want.attentions ? { attentions } : {}),
  };
}

/** What prompts put in front belongs to segment 0. */
function segmentEmbeddings(
  table: Tensor,
  input: ModelInput,
  { embeddings, prefix }: { embeddings: Tensor; prefix: Tensor["shape"][number] },
): Tensor {
  if (!input.segments) return gather(table, constant(i32([0], [1, 1])));
  const batch = embeddings.dim(0);
  const segments = dimEqual(prefix, 0) ? input.segments : concat([full([batch, prefix], 0, "i32"), input.segments], 1);
  return broadcastTo(gather(table, segments), embeddings.shape);
}

function declare(c: Config, prefix: string, classes: number | undefined): Declarations {
  const d = new Declarations();
  const n = c.hidden_size;
  const attention = { heads: c.num_attention_heads, kvHeads: c.num_attention_heads, headDim: n / c.num_attention_heads };
  d.embedding(`${prefix}embeddings.word_embeddings`, c.vocab_size, n);
  d.param(`${prefix}embeddings.position_embeddings.weight`, [c.max_position_embeddings, n]);
  d.param(`${prefix}embeddings.token_type_embeddings.weight`, [c.type_vocab_size, n]);
  d.norm(`${prefix}embeddings.LayerNorm`, n, { bias: true });
  for (let layer = 0; layer < c.num_hidden_layers; layer++) {
    const p = `${prefix}encoder.layer.${layer}`;
    d.site(p, "block", layer);
    d.site(`${p}.attention`, "attention", layer, attention);
    d.linear(`${p}.attention.self.query`, { role: "q", layer, in: n, out: n });
    d.linear(`${p}.attention.self.key`, { role: "k", layer, in: n, out: n });
    d.linear(`${p}.attention.self.value`, { role: "v", layer, in: n, out: n });
    d.site(`${p}.attention.self.kv`, "kv", layer, attention);
    d.site(`${p}.attention.self.scores`, "scores", layer, attention);
    d.linear(`${p}.attention.output.dense`, { role: "o", layer, in: n, out: n });
    d.norm(`${p}.attention.output.LayerNorm`, n, { bias: true, layer });
    d.site(`${p}.mlp`, "mlp", layer);
    d.linear(`${p}.intermediate.dense`, { role: "in", layer, in: n, out: c.intermediate_size });
    d.linear(`${p}.output.dense`, { role: "out", layer, in: c.intermediate_size, out: n });
    d.norm(`${p}.output.LayerNorm`, n, { bias: true, layer });
  }
  if (c.add_pooling_layer) d.linear(`${prefix}pooler.dense`, { kind: "pooler", in: n, out: n });
  if (classes) d.linear("classifier", { kind: "head", role: "classifier", in: n, out: classes });
  return d;
}
