/** What BERT and its kin have in common: embedded tokens, normalised, through blocks that normalise after each sum. */
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
  type ModelInput,
  type Outputs,
  type ParamTree,
  type Site,
  slice,
  squeeze,
  type Tensor,
} from "@lfm/core";
import { attend } from "../attention.js";
import { type Embedded, embedSequence } from "../sequence.js";
import { param, siteAround, siteLayerNorm, siteLinear, siteResidual, wanted } from "../sites.js";
import { type Activation, activation } from "./activations.js";
import type { Declarations } from "./declarations.js";

/** Sizes and rates, whatever a config calls them. */
export interface PostNormSizes {
  readonly vocabulary: number;
  readonly width: number;
  readonly inner: number;
  readonly layers: number;
  readonly heads: number;
  readonly positions: number;
  /** Rows of the table of segments; absent: there is none. */
  readonly segments?: number;
  /** The token whose row no gradient reaches. */
  readonly padding: number | null;
  /** The row of the table of positions that no gradient reaches. */
  readonly paddingPosition?: number;
  readonly epsilon: number;
  readonly activation: Activation;
  /** Of the embeddings and of what a block's MLP gives. */
  readonly dropout: number;
  /** Of attention weights. */
  readonly attentionDropout: number;
  /** Of what attention gives. */
  readonly attendedDropout: number;
}

/** Names below a block, as checkpoints have them; those of places without weights are ours. */
export interface PostNormNames {
  block(layer: number): string;
  readonly attention: string;
  readonly q: string;
  readonly k: string;
  readonly v: string;
  readonly kv: string;
  readonly scores: string;
  readonly o: string;
  readonly attentionNorm: string;
  readonly mlp: string;
  readonly in: string;
  readonly out: string;
  readonly outNorm: string;
}

export const bertNames: PostNormNames = {
  block: (layer) => `encoder.layer.${layer}`,
  attention: ".attention",
  q: ".attention.self.query",
  k: ".attention.self.key",
  v: ".attention.self.value",
  kv: ".attention.self.kv",
  scores: ".attention.self.scores",
  o: ".attention.output.dense",
  attentionNorm: ".attention.output.LayerNorm",
  mlp: ".mlp",
  in: ".intermediate.dense",
  out: ".output.dense",
  outNorm: ".output.LayerNorm",
};

/** Row of the table of positions for every token, i32[batch, seq]. */
export type PositionRule = (input: ModelInput, sequence: Embedded) => Tensor;

export interface Encoded extends Outputs {
  readonly context: HookContext;
  readonly last: Tensor;
  /** f32[batch, hidden]: the last state of the first token, prompts left out. */
  readonly pooled: Tensor;
}

/** @param prefix of the encoder's names: a classifier's checkpoint has one */
export function encodePostNorm(
  s: PostNormSizes,
  names: PostNormNames,
  prefix: string,
  find: (path: string) => Site,
  params: ParamTree,
  input: ModelInput,
  given: ForwardContext,
  positions: PositionRule = (_input, sequence) => sequence.positions,
): Encoded {
  const site = (path: string): Site => find(`${prefix}${path}`);
  const sequence = embedSequence(site("embeddings.word_embeddings"), params, input, given, { padding: s.padding });
  const { mask, context } = sequence;
  const act = activation(s.activation);
  const table = (name: string): Tensor => param(params, `${prefix}embeddings.${name}.weight`);
  const words = s.segments
    ? add(sequence.embeddings, segmentEmbeddings(table("token_type_embeddings"), input, sequence))
    : sequence.embeddings;
  const summed = add(
    words,
    gather(
      table("position_embeddings"),
      positions(input, sequence),
      0,
      s.paddingPosition === undefined ? {} : { padding: s.paddingPosition },
    ),
  );
  const norm = site("embeddings.LayerNorm");
  let x = dropoutAt(siteLayerNorm(context, norm, params, summed, s.epsilon), s.dropout, context, norm.path);
  const hidden: Tensor[] = [x];
  const attentions: Tensor[] = [];
  for (let i = 0; i < s.layers; i++) {
    const at = (name: string): Site => site(`${names.block(i)}${name}`);
    x = siteAround(context, at(""), x, (h0, context) => {
      const linear = (name: string, h: Tensor): Tensor => siteLinear(context, at(name), params, h);
      const dropped = (name: string, h: Tensor, rate: number): Tensor => dropoutAt(linear(name, h), rate, context, at(name).path);
      const attention = (h: Tensor): Tensor => {
        const sites = { kv: at(names.kv), scores: at(names.scores) };
        const attended = attend(context, sites, linear(names.q, h), linear(names.k, h), linear(names.v, h), {
          heads: s.heads,
          mask,
          causal: false,
          dropout: s.attentionDropout,
        });
        attentions.push(attended.weights);
        return dropped(names.o, attended.mixed, s.attendedDropout);
      };
      const mlp = (h: Tensor): Tensor => dropped(names.out, act(linear(names.in, h)), s.dropout);
      /** norm(h + part(h)) */
      const residual = (name: string, h: Tensor, part: (h: Tensor) => Tensor, norm: string): Tensor =>
        siteResidual(context, at(`${name}.residual`), h, siteAround(context, at(name), h, part), (sum) =>
          siteLayerNorm(context, at(norm), params, sum, s.epsilon),
        );
      return residual(names.mlp, residual(names.attention, h0, attention, names.attentionNorm), mlp, names.outNorm);
    });
    hidden.push(x);
  }
  return {
    last: x,
    pooled: squeeze(slice(x, 1, sequence.prefix, 1), 1),
    prefix: sequence.prefix,
    context,
    ...wanted(context, { hidden, attentions }),
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

/** Parameters and sites of the encoder, poolers and heads left out. */
export function declarePostNorm(d: Declarations, s: PostNormSizes, names: PostNormNames, prefix: string): void {
  const n = s.width;
  const attention = { heads: s.heads, kvHeads: s.heads, headDim: n / s.heads };
  d.embedding(`${prefix}embeddings.word_embeddings`, s.vocabulary, n);
  d.param(`${prefix}embeddings.position_embeddings.weight`, [s.positions, n]);
  if (s.segments) d.param(`${prefix}embeddings.token_type_embeddings.weight`, [s.segments, n]);
  d.norm(`${prefix}embeddings.LayerNorm`, n, { bias: true });
  for (let layer = 0; layer < s.layers; layer++) {
    const p = `${prefix}${names.block(layer)}`;
    d.site(p, "block", layer);
    d.site(`${p}${names.attention}`, "attention", layer, attention);
    for (const role of ["q", "k", "v"] as const) d.linear(`${p}${names[role]}`, { role, layer, in: n, out: n });
    d.site(`${p}${names.kv}`, "kv", layer, attention);
    d.site(`${p}${names.scores}`, "scores", layer, attention);
    d.linear(`${p}${names.o}`, { role: "o", layer, in: n, out: n });
    d.residual(`${p}${names.attention}`, "attention", layer);
    d.norm(`${p}${names.attentionNorm}`, n, { bias: true, layer });
    d.site(`${p}${names.mlp}`, "mlp", layer);
    d.linear(`${p}${names.in}`, { role: "in", layer, in: n, out: s.inner });
    d.linear(`${p}${names.out}`, { role: "out", layer, in: s.inner, out: n });
    d.residual(`${p}${names.mlp}`, "mlp", layer);
    d.norm(`${p}${names.outNorm}`, n, { bias: true, layer });
  }
}
