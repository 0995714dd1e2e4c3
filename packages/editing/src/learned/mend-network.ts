/**
 * The network of MEND (arXiv 2110.11309, section 3): gradients of a layer come apart into u and δ, a row for each token, and rows go through
 *   z = [u; δ], normalised by what was seen in training
 *   h = z + σ(s₁ ⊙ (U₁V₁z + b₁) + o₁),  [ũ; δ̃] = h + σ(s₂ ⊙ (U₂V₂h + b₂) + o₂)   (equations 3a and 3b, with the biases of the authors' program)
 * Layers of equal shape share U, V and b, each has scales s and shifts o of its own. U is zero at first: the network begins as the identity.
 */
import {
  add,
  concat,
  div,
  f32,
  type HostTensor,
  LfmError,
  type Model,
  matmul,
  maximum,
  mul,
  type ParamTree,
  type Rng,
  reshape,
  type Site,
  slice,
  sqrt,
  square,
  sub,
  sum,
  type Tensor,
  zeros,
} from "@lfm/core";
import type { GradientFactors } from "./factors.js";

/** Layers of equal shape, in the order of the forward pass. */
interface Group {
  readonly id: string;
  readonly width: number;
  readonly sites: readonly Site[];
}

/** The MLP projections of the last blocks. @throws {LfmError} CAPABILITY_MISSING for a model without any */
export function mendSites(model: Model, blocks: number): readonly Site[] {
  const first = model.info.layers - blocks;
  const roles = new Set(["in", "gate", "gate-in", "out"]);
  const sites = model.info.sites.filter((s) => s.weight && s.kind === "linear" && s.role && roles.has(s.role) && (s.layer ?? -1) >= first);
  if (sites.length > 0) return sites;
  throw new LfmError("CAPABILITY_MISSING", `[@lfm/editing] ${model.info.architecture} has no MLP projection in its last ${blocks} blocks`);
}

function groupsOf(sites: readonly Site[]): readonly Group[] {
  const groups = new Map<string, Site[]>();
  for (const site of sites) {
    const id = `${site.weight!.in}x${site.weight!.out}`;
    groups.set(id, [...(groups.get(id) ?? []), site]);
  }
  return [...groups].map(([id, own]) => ({ id, width: own[0]!.weight!.in + own[0]!.weight!.out, sites: own }));
}

/** Names of what a group has; the same in training, in the file, and in the graph. */
const at = (group: Pick<Group, "id">, name: string): string => `editor.${group.id}.${name}`;
/** f32[sites]: how much of each site's update is taken. */
export const RATES = "editor.rates";

export interface MendSize {
  /** Of U and V; what is wider than a row is cut. */
  readonly rank: number;
  /** Layers but the last. */
  readonly hidden: number;
}

/** What learns, before it has. @param rate how much of an update is taken at first */
export function mendWeights(
  sites: readonly Site[],
  { rank, hidden, rate }: MendSize & { readonly rate: number },
  rng: Rng,
): Record<string, HostTensor> {
  const weights: Record<string, HostTensor> = { [RATES]: f32(new Float32Array(sites.length).fill(rate), [sites.length]) };
  for (const group of groupsOf(sites)) {
    const [d, r, modes] = [group.width, Math.min(rank, group.width), group.sites.length];
    for (let layer = 0; layer <= hidden; layer++) {
      const name = (part: string): string => at(group, `${layer}.${part}`);
      weights[name("u")] = zeros([d, r]);
      weights[name("v")] = f32(rng.split(name("v")).normalArray(r * d), [r, d]);
      weights[name("bias")] = zeros([d]);
      weights[name("scale")] = f32(new Float32Array(modes * d).fill(1), [modes, d]);
      weights[name("shift")] = zeros([modes, d]);
    }
  }
  return weights;
}

/** What has been seen of the rows of each group, as Welford's sums: nothing yet. */
export function mendStatistics(sites: readonly Site[]): Record<string, HostTensor> {
  return Object.fromEntries(
    groupsOf(sites).flatMap((group) => [
      [at(group, "mean"), zeros([group.width])],
      [at(group, "squares"), zeros([group.width])],
      [at(group, "count"), zeros([1])],
    ]),
  );
}

/** @throws {LfmError} FILE_FORMAT for an editor whose tensors are not those of a network for these sites */
export function checkMend(sites: readonly Site[], tensors: Readonly<Record<string, HostTensor>>): void {
  const expected = { [RATES]: [sites.length], ...shapesOf(mendStatistics(sites)) };
  const wrong = Object.entries(expected).find(([name, shape]) => String(tensors[name]?.shape) !== String(shape));
  if (wrong === undefined) return;
  const [name, shape] = wrong;
  throw new LfmError("FILE_FORMAT", `[@lfm/editing] the editor is of another shape: "${name}" should be [${shape}]`, {
    details: { tensor: name, found: tensors[name]?.shape ?? null },
  });
}

function shapesOf(tensors: Readonly<Record<string, HostTensor>>): Record<string, readonly number[]> {
  return Object.fromEntries(Object.entries(tensors).map(([name, { shape }]) => [name, shape]));
}

/** The factors of an update, Σ value·keyᵀ over positions, to be added to the weight. */
export type UpdateFactors = {
  /** f32[batch, length, in] */
  readonly keys: Tensor;
  /** f32[batch, length, out]; 0 at positions that do not count. */
  readonly values: Tensor;
};

export interface MendUpdates {
  /** By the path of the site. */
  readonly updates: Readonly<Record<string, UpdateFactors>>;
  /** The sums with the rows of this pass, where they are to be seen. */
  readonly statistics: Readonly<Record<string, Tensor>>;
}

/**
 * The authors' program adds the product and learns the sign with the rates; here it is taken off, as the paper has it (algorithm 1), so that the
 * untrained editor goes down its gradient.
 * @param params weights and sums by the names of {@link mendWeights} and {@link mendStatistics}
 * @param see whether rows are counted among what was seen before they are normalised by it, as in training
 */
export function mendUpdates(
  sites: readonly Site[],
  params: ParamTree,
  factors: Readonly<Record<string, GradientFactors>>,
  see: boolean,
): MendUpdates {
  const updates: Record<string, UpdateFactors> = {};
  const statistics: Record<string, Tensor> = {};
  for (const group of groupsOf(sites)) {
    let sums = { mean: params[at(group, "mean")]!, squares: params[at(group, "squares")]!, count: params[at(group, "count")]! };
    for (const [mode, site] of group.sites.entries()) {
      const { u, delta, counts } = factors[site.path]!;
      const z = concat([u, delta], -1);
      if (see) sums = withRows(sums, reshape(z, [-1, group.width]), reshape(counts, [-1, 1]));
      const h = transformed(group, params, mode, normalised(z, sums));
      const rate = slice(params[RATES]!, 0, sites.indexOf(site), 1);
      const { in: width, out } = site.weight!;
      updates[site.path] = { keys: slice(h, -1, 0, width), values: mul(slice(h, -1, width, out), mul(mul(counts, rate), -1)) };
    }
    for (const [name, sum] of Object.entries(sums)) statistics[at(group, name)] = sum;
  }
  return { updates, statistics };
}

interface Sums {
  /** f32[d] */
  readonly mean: Tensor;
  /** Of differences from the mean, f32[d]. */
  readonly squares: Tensor;
  /** f32[1] */
  readonly count: Tensor;
}

/** Several rows at once, as Chan, Golub and LeVeque merge Welford's sums. rows — f32[n, d], counts — f32[n, 1] */
function withRows({ mean, squares, count }: Sums, rows: Tensor, counts: Tensor): Sums {
  const n = sum(counts);
  const own = div(sum(mul(rows, counts), 0), maximum(n, 1));
  const spread = sum(mul(square(sub(rows, own)), counts), 0);
  const [total, apart] = [add(count, n), sub(own, mean)];
  const share = div(n, maximum(total, 1));
  return {
    mean: add(mean, mul(apart, share)),
    squares: add(squares, add(spread, mul(square(apart), mul(count, share)))),
    count: total,
  };
}

/** What keeps a feature that never varied from being divided by zero. */
const LEAST_DEVIATION = 1e-7;

function normalised(z: Tensor, { mean, squares, count }: Sums): Tensor {
  const deviation = sqrt(div(squares, maximum(sub(count, 1), 1)));
  return div(sub(z, mean), add(deviation, LEAST_DEVIATION));
}

function transformed(group: Group, params: ParamTree, mode: number, z: Tensor): Tensor {
  let h = z;
  for (let layer = 0; params[at(group, `${layer}.u`)]; layer++) {
    const own = (part: string): Tensor => params[at(group, `${layer}.${part}`)]!;
    const product = matmul(matmul(h, own("v"), { transB: true }), own("u"), { transB: true });
    const [scale, shift] = [slice(own("scale"), 0, mode, 1), slice(own("shift"), 0, mode, 1)];
    // A maximum, for its derivative at 0 is that of its first operand: with that of relu nothing would ever learn from the identity.
    h = add(h, maximum(add(mul(add(product, own("bias")), scale), shift), 0));
  }
  return h;
}
