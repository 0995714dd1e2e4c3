import { type HostTensor, LfmError, loadWeight, sizeOf, type TypedArray, type Weights } from "@lfm/core";

/** Positions of one axis of a parameter that move with the units of a group: unit u owns `offset + u·block` to `offset + u·block + block − 1`. */
export interface AxisUse {
  readonly param: string;
  readonly axis: number;
  readonly offset: number;
  readonly block: number;
  /** Which of the group's permutations: "units", or "q", "k", "v", "o" of attention heads. */
  readonly channel: string;
  /** True where the parameter makes the units' values (rows of a weight, biases, norms), false where it reads them. */
  readonly makes: boolean;
}

/** Where the values of the units can be seen: what flows into or out of a site. */
export interface Tap {
  readonly site: string;
  readonly side: "input" | "output";
  /** "last": f32[..., positions]; "channels": f32[batch, channels, height, width]. */
  readonly axis: "last" | "channels";
  readonly offset: number;
  readonly block: number;
  readonly channel: string;
}

interface GroupBase {
  readonly id: string;
  readonly uses: readonly AxisUse[];
  readonly taps: readonly Tap[];
}

/** Units that may stand in any order: hidden neurons, channels, the residual stream. */
export interface UnitGroup extends GroupBase {
  readonly kind: "units";
  readonly size: number;
  /**
   * True where units meet elementwise functions only, each unit its own: they may then be mixed and dropped, not only reordered.
   * Layer norms over the residual stream allow nothing but permutations.
   */
  readonly elementwise: boolean;
}

/**
 * The heads of one attention layer. Key/value heads may swap places, each with its query heads; these may swap among themselves; and
 * within a head the dimensions of v (with the columns of o) may, and those of q with k only where positions do not turn them (RoPE).
 */
export interface HeadGroup extends GroupBase {
  readonly kind: "heads";
  readonly kvHeads: number;
  /** Query heads per key/value head. */
  readonly queryHeads: number;
  readonly headDim: number;
  readonly movesQk: boolean;
}

export type PermutationGroup = UnitGroup | HeadGroup;

/** Every symmetry of a model that reorders its units and leaves its function alone. */
export interface PermutationSpec {
  /** In the order of the forward pass. */
  readonly groups: readonly PermutationGroup[];
  /** What keeps its order, and why. */
  readonly fixed: readonly { readonly what: string; readonly reason: string }[];
}

/** i32 permutation of each channel: position p of the result is position `permutation[p]` of the model that moves. */
export type GroupPermutation = Readonly<Record<string, Int32Array>>;

/** By id of the group; a group that is missing stays as it is. */
export type Permutations = Readonly<Record<string, GroupPermutation>>;

/** Length of each channel of a group. */
export function channelSizes(group: PermutationGroup): Readonly<Record<string, number>> {
  if (group.kind === "units") return { units: group.size };
  const kv = group.kvHeads * group.headDim;
  return { q: kv * group.queryHeads, k: kv, v: kv, o: kv * group.queryHeads };
}

export function identityPermutations(spec: PermutationSpec): Record<string, GroupPermutation> {
  return Object.fromEntries(
    spec.groups.map((g) => [
      g.id,
      Object.fromEntries(Object.entries(channelSizes(g)).map(([c, n]) => [c, Int32Array.from({ length: n }, (_, i) => i)])),
    ]),
  );
}

/** The permutation that undoes each. */
export function invertPermutations(permutations: Permutations): Record<string, GroupPermutation> {
  const invert = (p: Int32Array): Int32Array => {
    const out = new Int32Array(p.length);
    p.forEach((from, to) => {
      out[from] = to;
    });
    return out;
  };
  return Object.fromEntries(
    Object.entries(permutations).map(([id, group]) => [id, Object.fromEntries(Object.entries(group).map(([c, p]) => [c, invert(p)]))]),
  );
}

/** Uses of each parameter with the group they belong to. */
export function usesByParam(
  spec: PermutationSpec,
): ReadonlyMap<string, readonly { readonly group: PermutationGroup; readonly use: AxisUse }[]> {
  const out = new Map<string, { group: PermutationGroup; use: AxisUse }[]>();
  for (const group of spec.groups) {
    for (const use of group.uses) {
      const list = out.get(use.param) ?? [];
      list.push({ group, use });
      out.set(use.param, list);
    }
  }
  return out;
}

/**
 * Weights with their units reordered: the same function where the spec is that of the model. Dtypes stay.
 * @throws {LfmError} PARAM_NOT_FOUND, SHAPE_MISMATCH
 */
export function permuteWeights(spec: PermutationSpec, permutations: Permutations, weights: Weights): Record<string, HostTensor> {
  const uses = usesByParam(spec);
  for (const name of uses.keys())
    if (!(name in weights)) throw new LfmError("PARAM_NOT_FOUND", `[@lfm/reuse] alignment: there is no parameter "${name}"`);
  return Object.fromEntries(
    Object.entries(weights).map(([name, weight]) => [name, permuteTensor(loadWeight(weight), uses.get(name) ?? [], permutations)]),
  );
}

/** One tensor with the given uses applied; `except` stays in place. */
export function permuteTensor(
  tensor: HostTensor,
  uses: readonly { readonly group: PermutationGroup; readonly use: AxisUse }[],
  permutations: Permutations,
  except?: PermutationGroup,
): HostTensor {
  const byAxis = new Map<number, Int32Array>();
  for (const { group, use } of uses) {
    const permutation = permutations[group.id]?.[use.channel];
    if (!permutation || group === except) continue;
    const length = tensor.shape[use.axis];
    if (length === undefined || use.offset + permutation.length * use.block > length)
      throw new LfmError(
        "SHAPE_MISMATCH",
        `[@lfm/reuse] alignment: "${use.param}" is [${tensor.shape}], too small on axis ${use.axis} for ${permutation.length} units of ${use.block}`,
      );
    const index = byAxis.get(use.axis) ?? Int32Array.from({ length }, (_, i) => i);
    for (let u = 0; u < permutation.length; u++)
      for (let t = 0; t < use.block; t++) index[use.offset + u * use.block + t] = use.offset + permutation[u]! * use.block + t;
    byAxis.set(use.axis, index);
  }
  let out = tensor;
  for (const [axis, index] of byAxis) out = takeAxis(out, axis, index);
  return out;
}

function takeAxis(tensor: HostTensor, axis: number, index: Int32Array): HostTensor {
  const { shape, data } = tensor;
  const inner = sizeOf(shape.slice(axis + 1));
  const outer = sizeOf(shape.slice(0, axis));
  const out = data.slice() as TypedArray;
  const length = index.length;
  for (let o = 0; o < outer; o++) {
    for (let i = 0; i < length; i++) {
      const from = (o * length + index[i]!) * inner;
      const to = (o * length + i) * inner;
      for (let k = 0; k < inner; k++) out[to + k] = data[from + k]!;
    }
  }
  return { ...tensor, data: out };
}
