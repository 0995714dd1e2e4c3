import {
  add,
  broadcastTo,
  cast,
  type Dim,
  dimAdd,
  dimScalar,
  expandDims,
  type ForwardContext,
  full,
  gather,
  hookSequence,
  iota,
  LfmError,
  lowerTriangle,
  type ModelInput,
  mul,
  type ParamTree,
  reshape,
  type Sequence,
  type Site,
  sub,
  type Tensor,
  where,
} from "@lfm/core";
import { param } from "./sites.js";

/** Number of positions that a key/value cache already holds. */
export function pastLength(input: ModelInput): Dim {
  return input.cache?.[0]?.key.dim(2) ?? 0;
}

/** Tokens (or given embeddings) with mask and positions, after the sequence hooks of the embedding site. */
export function embedSequence(site: Site, params: ParamTree, input: ModelInput, context: ForwardContext): Sequence {
  const embeddings = input.embeddings ?? lookUp(site, params, input);
  const [batch, seq] = [embeddings.dim(0), embeddings.dim(1)];
  const past = pastLength(input);
  const start = typeof past === "number" ? past : cast(dimScalar(past), "i32");
  const positions = input.positions ?? broadcastTo(expandDims(add(iota(seq), start), 0), [batch, seq]);
  const mask = input.mask ?? full([batch, dimAdd(past, seq)], 1);
  return hookSequence({ embeddings, mask, positions, prefix: 0 }, site, context);
}

function lookUp(site: Site, params: ParamTree, input: ModelInput): Tensor {
  if (!input.tokens) throw new LfmError("SHAPE_MISMATCH", "[@lfm/models] this model reads tokens or embeddings; the input has neither");
  return gather(param(params, site.weight!.name), input.tokens);
}

/** Scores' bias f32[batch, 1, seq, keys]: 0 where a key may be seen, −1e9 elsewhere. mask — f32[batch, keys]. */
export function attentionBias(mask: Tensor, seq: Dim, past: Dim, causal: boolean): Tensor {
  const [batch, keys] = [mask.dim(0), mask.dim(1)];
  const hidden = reshape(mul(sub(mask, 1), 1e9), [batch, 1, 1, keys]);
  if (!causal) return hidden;
  const order = where(lowerTriangle(seq, keys, past), 0, -1e9);
  return add(hidden, reshape(order, [1, 1, seq, keys]));
}
