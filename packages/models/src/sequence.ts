import {
  add,
  broadcastTo,
  cast,
  concat,
  cumSum,
  type Dim,
  dimAdd,
  dimEqual,
  dimScalar,
  equal,
  expandDims,
  full,
  gather,
  greaterEqual,
  type HookContext,
  hookOutput,
  hookSequence,
  hookWeight,
  iota,
  LfmError,
  logicalOr,
  lowerTriangle,
  type ModelInput,
  mul,
  type ParamTree,
  reshape,
  type Sequence,
  type Site,
  slice,
  sub,
  type Tensor,
  where,
} from "@lfm/core";
import { param } from "./sites.js";

/** Number of positions that a key/value cache already holds. */
function pastLength(input: ModelInput): Dim {
  return input.cache?.[0]?.key.dim(2) ?? 0;
}

/** Embedded tokens, and the context of everything after them: hooks see mask, positions and prefix there. */
export interface Embedded extends Sequence {
  readonly context: HookContext;
}

/**
 * Tokens (or given embeddings) with mask and positions, after the sequence hooks of the embedding site.
 * What hooks put in front is in the cache once it has been computed: with a cache given it is cut off again, and
 * `prefix` is 0. Positions that the caller names are those of the tokens alone; hooks shift them. Behind `skipped` all are counted.
 */
export function embedSequence(
  site: Site,
  params: ParamTree,
  input: ModelInput,
  context: HookContext,
  options: EmbedOptions = {},
): Embedded {
  const given = input.embeddings ?? input.tokens;
  if (!given) throw new LfmError("SHAPE_MISMATCH", "[@lfm/models] this model reads tokens or embeddings; the input has neither");
  if (input.packed && input.cache)
    throw new LfmError("SHAPE_MISMATCH", "[@lfm/models] rows that hold several examples go not together with a cache");
  const [batch, seq] = [given.dim(0), given.dim(1)];
  const past = pastLength(input);
  const start = typeof past === "number" ? past : cast(dimScalar(past), "i32");
  const positions = input.positions ?? broadcastTo(expandDims(add(iota(seq), start), 0), [batch, seq]);
  const mask = input.mask ?? full([batch, dimAdd(past, seq)], 1);
  const embed = (tokens: Tensor): Tensor => embedTokens(site, params, tokens, { ...context, mask, positions, prefix: 0 }, options);
  const embeddings = input.embeddings ?? embed(given);
  const hooked = hookSequence({ embeddings, mask, positions, prefix: 0 }, site, { ...context, embed });
  const own = (x: Tensor, length: Dim): Tensor => slice(x, 1, hooked.prefix, length);
  const { skipped = 0 } = hooked;
  const sequence: Sequence =
    !input.cache || dimEqual(hooked.prefix, 0)
      ? hooked
      : {
          embeddings: own(hooked.embeddings, seq),
          mask: own(hooked.mask, dimAdd(past, seq)),
          positions: input.positions ? own(hooked.positions, seq) : positions,
          prefix: 0,
        };
  const counted = dimEqual(skipped, 0) ? sequence.positions : add(sequence.positions, cast(dimScalar(skipped), "i32"));
  const { prefix } = sequence;
  const packed = input.packed && (dimEqual(prefix, 0) ? input.packed : concat([full([batch, prefix], IN_FRONT, "i32"), input.packed], 1));
  return {
    ...sequence,
    positions: counted,
    skipped,
    context: { ...context, mask: sequence.mask, positions: counted, prefix, skipped, ...(packed ? { packed } : {}) },
  };
}

/** In place of an example's number: what hooks put in front is every example's. */
const IN_FRONT = -1;

export interface EmbedOptions {
  /** Multiplies the rows of the table, before any hook sees them; embeddings that are given have it in them. Default 1. */
  readonly scale?: number | undefined;
  /** The token whose row no gradient reaches, as in torch's embeddings; none where it is no row of the table. */
  readonly padding?: number | null | undefined;
}

/** Rows of the table by id, f32[batch, seq, hidden]; the site's hooks see the table as their weight and the ids as what flows in. */
export function embedTokens(
  site: Site,
  params: ParamTree,
  tokens: Tensor,
  context: HookContext,
  { scale = 1, padding }: EmbedOptions = {},
): Tensor {
  const weight = hookWeight(param(params, site.weight!.name), site, context);
  const isRow = typeof padding === "number" && padding >= 0 && padding < site.weight!.in;
  const rows = gather(weight, tokens, 0, isRow ? { padding } : {});
  return hookOutput(scale === 1 ? rows : mul(rows, scale), tokens, site, context, { weight });
}

export interface Seen {
  readonly causal: boolean;
  /** Keys that a query sees at most, itself the last of them. Default all. */
  readonly window?: number | undefined;
}

/** Scores' bias f32[batch, 1, seq, keys] (seq is 1 where all queries see the same): 0 where a key may be seen, −1e9 elsewhere. mask — f32[batch, keys]. */
export function attentionBias(mask: Tensor, seq: Dim, past: Dim, { causal, window }: Seen): Tensor {
  const [batch, keys] = [mask.dim(0), mask.dim(1)];
  const hidden = reshape(mul(sub(mask, 1), 1e9), [batch, 1, 1, keys]);
  if (!causal) return hidden;
  const order = where(lowerTriangle(seq, keys, past), 0, -1e9);
  const seen = add(hidden, reshape(order, [1, 1, seq, keys]));
  // A window as long as the sequence hides nothing.
  if (window === undefined || (typeof keys === "number" && keys <= window)) return seen;
  return add(seen, where(beyond(mask, seq, past, window), -1e9, 0));
}

/**
 * Scores' bias f32[batch, 1, seq, seq] that keeps the examples of a row apart.
 * @param packed i32[batch, seq] as {@link HookContext.packed}
 */
export function apartBias(packed: Tensor): Tensor {
  const [batch, seq] = [packed.dim(0), packed.dim(1)];
  const keys = reshape(packed, [batch, 1, 1, seq]);
  const own = equal(reshape(packed, [batch, 1, seq, 1]), keys);
  return where(logicalOr(own, equal(keys, IN_FRONT)), 0, -1e9);
}

/**
 * bool[1 or batch, 1, seq, keys]: keys that are too far behind their query. Distances are places; behind a cache, whose room between the past
 * and the new keys is empty, the keys that may be seen are counted.
 */
function beyond(mask: Tensor, seq: Dim, past: Dim, window: number): Tensor {
  const [batch, keys] = [mask.dim(0), mask.dim(1)];
  if (dimEqual(past, 0)) return reshape(lowerTriangle(seq, keys, -window), [1, 1, seq, keys]);
  const upTo = cumSum(mask, 1);
  const own = reshape(slice(upTo, 1, past, seq), [batch, 1, seq, 1]);
  return greaterEqual(sub(own, reshape(upTo, [batch, 1, 1, keys])), window);
}
