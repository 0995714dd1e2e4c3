/**
 * What Llama and those after it have in common: RMS norms, rotary positions, attention with fewer heads of keys than of queries, a gated MLP.
 * An architecture says in which of these it is its own; names are those of the checkpoints.
 */
import {
  applyRotary,
  dropoutAt,
  type ForwardContext,
  type HookContext,
  type KvPair,
  type Model,
  type ModelInfo,
  type ModelInput,
  mul,
  type Outputs,
  type ParamTree,
  type RotaryTables,
  reshape,
  type Site,
  split,
  type Tensor,
  tanh,
  type Weights,
} from "@lfm/core";
import { attend } from "../attention.js";
import type { Rotary } from "../rotary.js";
import { embedSequence } from "../sequence.js";
import { siteAround, siteLinear, siteResidual, siteRmsNorm, wanted } from "../sites.js";
import { declareSparseMlp, sparseMlp } from "../sparse-mlp.js";
import { Declarations } from "./declarations.js";

export interface GatedDecoder {
  readonly architecture: string;
  /** As it is stored again. */
  readonly config: Readonly<Record<string, unknown>>;
  readonly vocabulary: number;
  readonly hidden: number;
  readonly inner: number;
  readonly layers: number;
  readonly heads: number;
  readonly kvHeads: number;
  readonly headDim: number;
  /** Of the norms. */
  readonly epsilon: number;
  /** The head is the embedding. */
  readonly tied: boolean;
  readonly activation: (x: Tensor) => Tensor;
  readonly rotary: (layer: number) => Rotary;
  /** See {@link ModelInfo.cacheBreak}. */
  readonly cacheBreak?: number | undefined;
  /** Keys that a query sees at most; default all. */
  readonly window?: (layer: number) => number | undefined;
  /** Default none. */
  readonly bias?: { readonly qkv?: boolean; readonly o?: boolean; readonly mlp?: boolean };
  readonly dropout?: { readonly attention?: number; readonly residual?: number };
  /** q, k and v are one layer, gate and up another (Phi-3). */
  readonly fused?: boolean;
  /** Norms of every head's queries and keys, before they are turned. */
  readonly headNorms?: boolean;
  /** Attention and MLP have a norm behind them too, before they are added (Gemma). */
  readonly normsBehind?: boolean;
  /** Norms multiply by 1 + weight (Gemma). */
  readonly unitNorms?: boolean;
  /** Of token embeddings. */
  readonly embeddingScale?: number;
  /** The token whose embedding no gradient reaches. */
  readonly padding: number | null | undefined;
  /** Of the scores; default 1/√headDim. */
  readonly scoreScale?: number;
  /** x becomes cap·tanh(x/cap). */
  readonly caps?: { readonly scores?: number | undefined; readonly logits?: number | undefined };
  /** A mixture of MLPs in place of each (Mixtral). */
  readonly experts?: { readonly count: number; readonly active: number };
}

/** The model of a description. */
export function gatedDecoder(a: GatedDecoder, weights: Weights): Model {
  const declared = declare(a);
  const site = declared.byPath();
  const shared = Math.min(...Array.from({ length: a.layers }, (_, i) => a.rotary(i).sharedBeyond ?? Number.POSITIVE_INFINITY));
  const info: ModelInfo = {
    architecture: a.architecture,
    task: "causal-lm",
    input: "tokens",
    config: a.config,
    vocabSize: a.vocabulary,
    hiddenSize: a.hidden,
    layers: a.layers,
    heads: a.heads,
    maxLength: a.rotary(0).maxLength,
    ...(a.cacheBreak === undefined ? {} : { cacheBreak: a.cacheBreak }),
    ...(Number.isFinite(shared) ? { sharedBeyond: shared } : {}),
    params: declared.params,
    sites: declared.sites,
  };
  return { info, params: weights, forward: (params, input, context) => forward(a, site, params, input, context) };
}

function forward(a: GatedDecoder, site: (path: string) => Site, params: ParamTree, input: ModelInput, given: ForwardContext): Outputs {
  const embedded = embedSequence(site("model.embed_tokens"), params, input, given, {
    scale: a.embeddingScale,
    padding: a.padding,
  });
  const { embeddings, mask, positions, prefix, context } = embedded;
  const hidden: Tensor[] = [embeddings];
  const attentions: Tensor[] = [];
  const cache: KvPair[] = [];
  // Blocks that turn alike share their tables.
  const tables = new Map<Rotary, RotaryTables>();
  const tablesOf = (rotary: Rotary): RotaryTables => {
    const made = tables.get(rotary) ?? rotary.tables(positions);
    tables.set(rotary, made);
    return made;
  };
  let x = embeddings;
  for (let i = 0; i < a.layers; i++) {
    const at = (name: string): Site => site(`model.layers.${i}.${name}`);
    const rotary = tablesOf(a.rotary(i));
    x = siteAround(context, site(`model.layers.${i}`), x, (h0, context) => {
      const norm = (name: string, h: Tensor): Tensor => siteRmsNorm(context, at(name), params, h, a.epsilon);
      const linear = (name: string, h: Tensor): Tensor => siteLinear(context, at(name), params, h);
      const attention = (h: Tensor): Tensor => {
        const [q, k, v] = queriesKeysValues(a, linear, h);
        const turned = (x: Tensor, name: string): Tensor => {
          const norm = a.headNorms ? at(`self_attn.${name}`) : undefined;
          return turnedHeads(a, context, norm, params, x, rotary);
        };
        const sites = { kv: at("self_attn.kv"), scores: at("self_attn.scores") };
        const attended = attend(context, sites, turned(q, "q_norm"), turned(k, "k_norm"), v, {
          heads: a.heads,
          kvHeads: a.kvHeads,
          mask,
          causal: true,
          past: input.cache?.[i],
          scale: a.scoreScale,
          cap: a.caps?.scores,
          window: a.window?.(i),
          dropout: a.dropout?.attention ?? 0,
        });
        cache.push(attended.cache);
        attentions.push(attended.weights);
        return linear("self_attn.o_proj", attended.mixed);
      };
      const mlp = (h: Tensor): Tensor => {
        if (a.experts) return sparseMlp(context, site, params, h, { path: mlpPath(a, i), experts: a.experts.count }, a.experts.active);
        return siteAround(context, at("mlp"), h, (h) => {
          const [gate, up] = gateAndUp(a, linear, h);
          return linear("mlp.down_proj", mul(a.activation(gate), up));
        });
      };
      /** h + part(norm(h)) */
      const residual = (place: Site, h: Tensor, before: string, part: (h: Tensor) => Tensor, behind: string): Tensor => {
        const y = part(norm(before, h));
        const added = dropoutAt(a.normsBehind ? norm(behind, y) : y, a.dropout?.residual ?? 0, context, at(before).path);
        return siteResidual(context, place, h, added);
      };
      const attend1 = (h: Tensor): Tensor => siteAround(context, at("self_attn"), h, attention);
      const [beforeMlp, behindMlp] = mlpNorms(a);
      const h1 = residual(at("self_attn.residual"), h0, "input_layernorm", attend1, "post_attention_layernorm");
      return residual(site(`${mlpPath(a, i)}.residual`), h1, beforeMlp, mlp, behindMlp);
    });
    hidden.push(x);
  }
  const last = siteRmsNorm(context, site("model.norm"), params, x, a.epsilon);
  const logits = siteLinear(context, site("lm_head"), params, last);
  const cap = a.caps?.logits;
  return {
    logits: cap === undefined ? logits : mul(tanh(mul(logits, 1 / cap)), cap),
    last,
    prefix,
    ...wanted(context, { hidden, attentions, cache }),
  };
}

type Linear = (name: string, h: Tensor) => Tensor;

function queriesKeysValues(a: GatedDecoder, linear: Linear, h: Tensor): readonly [Tensor, Tensor, Tensor] {
  if (!a.fused) return [linear("self_attn.q_proj", h), linear("self_attn.k_proj", h), linear("self_attn.v_proj", h)];
  const kv = a.kvHeads * a.headDim;
  const [q, k, v] = split(linear("self_attn.qkv_proj", h), -1, [a.heads * a.headDim, kv, kv]);
  return [q!, k!, v!];
}

function gateAndUp(a: GatedDecoder, linear: Linear, h: Tensor): readonly [Tensor, Tensor] {
  if (!a.fused) return [linear("mlp.gate_proj", h), linear("mlp.up_proj", h)];
  const [gate, up] = split(linear("mlp.gate_up_proj", h), -1, 2);
  return [gate!, up!];
}

/** Queries or keys f32[batch, seq, heads·headDim], where the architecture norms heads after `norm`, turned by their positions. */
function turnedHeads(
  a: GatedDecoder,
  context: HookContext,
  norm: Site | undefined,
  params: ParamTree,
  x: Tensor,
  rotary: RotaryTables,
): Tensor {
  if (!norm) return applyRotary(x, a.headDim, rotary);
  const heads = reshape(x, [x.dim(0), x.dim(1), (x.dim(2) as number) / a.headDim, a.headDim]);
  return applyRotary(reshape(siteRmsNorm(context, norm, params, heads, a.epsilon), x.shape), a.headDim, rotary);
}

/** The place of a block's MLP. */
function mlpPath(a: GatedDecoder, layer: number): string {
  return `model.layers.${layer}.${a.experts ? "block_sparse_moe" : "mlp"}`;
}

/** Names of the norms before and behind the MLP. */
function mlpNorms(a: GatedDecoder): readonly [string, string] {
  return a.normsBehind ? ["pre_feedforward_layernorm", "post_feedforward_layernorm"] : ["post_attention_layernorm", ""];
}

function declare(a: GatedDecoder): Declarations {
  const d = new Declarations();
  const { hidden: n, inner, bias = {} } = a;
  const [qSize, kvSize] = [a.heads * a.headDim, a.kvHeads * a.headDim];
  const attention = { heads: a.heads, kvHeads: a.kvHeads, headDim: a.headDim };
  const unit = a.unitNorms ?? false;
  d.embedding("model.embed_tokens", a.vocabulary, n);
  for (let layer = 0; layer < a.layers; layer++) {
    const p = `model.layers.${layer}`;
    const [beforeMlp, behindMlp] = mlpNorms(a);
    const norm = (name: string, width = n): void => d.norm(`${p}.${name}`, width, { bias: false, layer, unit });
    d.site(p, "block", layer);
    norm("input_layernorm");
    d.site(`${p}.self_attn`, "attention", layer, attention);
    const from = { layer, in: n, bias: bias.qkv ?? false };
    if (a.fused) {
      const parts = [
        { role: "q", size: qSize },
        { role: "k", size: kvSize },
        { role: "v", size: kvSize },
      ] as const;
      d.linear(`${p}.self_attn.qkv_proj`, { ...from, role: "qkv", out: qSize + 2 * kvSize, parts });
    } else {
      d.linear(`${p}.self_attn.q_proj`, { ...from, role: "q", out: qSize });
      d.linear(`${p}.self_attn.k_proj`, { ...from, role: "k", out: kvSize });
      d.linear(`${p}.self_attn.v_proj`, { ...from, role: "v", out: kvSize });
    }
    if (a.headNorms) for (const name of ["q_norm", "k_norm"]) norm(`self_attn.${name}`, a.headDim);
    d.site(`${p}.self_attn.kv`, "kv", layer, attention);
    d.site(`${p}.self_attn.scores`, "scores", layer, attention);
    d.linear(`${p}.self_attn.o_proj`, { role: "o", layer, in: qSize, out: n, bias: bias.o ?? false });
    d.residual(`${p}.self_attn`, "attention", layer);
    norm("post_attention_layernorm");
    if (a.normsBehind) norm(beforeMlp);
    if (a.experts) declareSparseMlp(d, { path: mlpPath(a, layer), layer, hidden: n, inner, experts: a.experts.count });
    else declareMlp(a, d, p, layer);
    d.residual(mlpPath(a, layer), "mlp", layer);
    if (a.normsBehind) norm(behindMlp);
  }
  d.norm("model.norm", n, { bias: false, unit });
  d.head("lm_head", n, a.vocabulary, a.tied ? "model.embed_tokens.weight" : undefined);
  return d;
}

function declareMlp(a: GatedDecoder, d: Declarations, block: string, layer: number): void {
  const [{ hidden: n, inner }, bias] = [a, a.bias?.mlp ?? false];
  d.site(`${block}.mlp`, "mlp", layer);
  if (a.fused) {
    const parts = (["gate", "in"] as const).map((role) => ({ role, size: inner }));
    d.linear(`${block}.mlp.gate_up_proj`, { role: "gate-in", layer, in: n, out: 2 * inner, bias, parts });
  } else {
    d.linear(`${block}.mlp.gate_proj`, { role: "gate", layer, in: n, out: inner, bias });
    d.linear(`${block}.mlp.up_proj`, { role: "in", layer, in: n, out: inner, bias });
  }
  d.linear(`${block}.mlp.down_proj`, { role: "out", layer, in: inner, out: n, bias });
}
