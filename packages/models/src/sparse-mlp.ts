import {
  add,
  div,
  type HookContext,
  mul,
  oneHot,
  type ParamTree,
  type Site,
  silu,
  slice,
  softmax,
  sum,
  type Tensor,
  topK,
} from "@lfm/core";
import type { Declarations } from "./architectures/declarations.js";
import { siteAround, siteLinear } from "./sites.js";

/** A mixture of gated MLPs as in Mixtral (arXiv 2401.04088): names under `path`: `gate`, `experts.0.w1`, `.w2`, `.w3`, … */
export interface SparseMlp {
  readonly path: string;
  readonly layer: number;
  readonly hidden: number;
  readonly inner: number;
  readonly experts: number;
}

export function declareSparseMlp(d: Declarations, m: SparseMlp): void {
  const { path, layer, hidden, inner } = m;
  d.site(path, "mlp", layer);
  d.linear(`${path}.gate`, { layer, in: hidden, out: m.experts, bias: false });
  for (let e = 0; e < m.experts; e++) {
    d.linear(`${path}.experts.${e}.w1`, { role: "gate", layer, in: hidden, out: inner, bias: false });
    d.linear(`${path}.experts.${e}.w3`, { role: "in", layer, in: hidden, out: inner, bias: false });
    d.linear(`${path}.experts.${e}.w2`, { role: "out", layer, in: inner, out: hidden, bias: false });
  }
}

/**
 * Σ wₑ·w2ₑ(silu(w1ₑx) ⊙ w3ₑx): w is the softmax of the gate over all experts, the `active` largest kept and scaled to sum 1, for every token.
 * All experts are computed, so it costs as much as all of them; gradients reach the gate through the weights of the chosen.
 * @param x f32[batch, seq, hidden]
 */
export function sparseMlp(
  context: HookContext,
  site: (path: string) => Site,
  params: ParamTree,
  x: Tensor,
  { path, experts }: Pick<SparseMlp, "path" | "experts">,
  active: number,
): Tensor {
  const linear = (name: string, h: Tensor): Tensor => siteLinear(context, site(`${path}.${name}`), params, h);
  return siteAround(context, site(path), x, (h) => {
    const weights = routing(linear("gate", h), experts, active);
    const each = Array.from({ length: experts }, (_, e) => {
      const y = linear(`experts.${e}.w2`, mul(silu(linear(`experts.${e}.w1`, h)), linear(`experts.${e}.w3`, h)));
      return mul(y, slice(weights, -1, e, 1));
    });
    return each.reduce((a, b) => add(a, b));
  });
}

/** f32[batch, seq, experts], zero for those that were not chosen. */
function routing(logits: Tensor, experts: number, active: number): Tensor {
  const p = softmax(logits);
  if (active >= experts) return p;
  const chosen = mul(p, sum(oneHot(topK(p, active).indices, experts), -2));
  return div(chosen, sum(chosen, -1, { keepDims: true }));
}
