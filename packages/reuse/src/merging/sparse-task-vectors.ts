import { kernels } from "./kernels.js";
import type { MergeTensor } from "./merge-method.js";
import { prepareElection, prepareSum } from "./task-vectors.js";

/** Thins task vectors run by run, in the order of the tensor. */
export interface Sparsifier {
  /** Makes of a run of model number `model`'s weights its task vector with entries zeroed, in place. */
  thin(values: Float32Array, base: Float32Array, model: number, start: number): void;
  /** ‖τ‖₁ of the run, and of what `thin` leaves of it. May change `values`. */
  norms(values: Float32Array, base: Float32Array, model: number, start: number): readonly [before: number, after: number];
}

/** A sparsifier by what zeroes entries of task vectors, in place. */
export function sparsifier(zero: (values: Float32Array, model: number, start: number) => void): Sparsifier {
  const { fn } = kernels();
  const thin: Sparsifier["thin"] = (values, base, model, start) => {
    fn.subtract(values.byteOffset, base.byteOffset, values.length);
    zero(values, model, start);
  };
  return {
    thin,
    norms: (values, base, model, start) => {
      fn.subtract(values.byteOffset, base.byteOffset, values.length);
      const before = fn.sumMagnitudes(values.byteOffset, values.length);
      zero(values, model, start);
      return [before, fn.sumMagnitudes(values.byteOffset, values.length)];
    },
  };
}

export interface SparseMerge {
  readonly weights: readonly number[];
  readonly lambda: number;
  readonly normalize: boolean;
  /** Scale what is left of a task vector to the L1 norm that it had, or by given factors. */
  readonly rescale: boolean | readonly number[];
  readonly consensus: "none" | "sum";
  /** Elements that must come together; see {@link MergeTensor.read}. */
  readonly align?: number;
  /** Starts a pass over the tensor: the same entries go in each. */
  begin(): Sparsifier;
}

/** mergekit's norms below this are left as they are. */
const SMALL = 1e-7;

/** θ₀ + λ·Σ wᵢ·sᵢ·sparse(τᵢ), without or with an election of signs; divided by Σ wᵢ (of those that agree) with `normalize`. */
export function mergeSparse(tensor: MergeTensor<unknown, unknown>, merge: SparseMerge): void {
  const { weights, lambda, normalize, consensus, align } = merge;
  const factors = typeof merge.rescale !== "boolean" ? merge.rescale : merge.rescale ? l1Factors(tensor, merge) : weights.map(() => 1);
  const total = weights.reduce((a, b) => a + b, 0);
  const divisor = normalize && Math.abs(total) >= 1e-8 ? total : 1;
  const k = kernels();
  const mark = k.mark();
  try {
    const elect = consensus === "sum" ? prepareElection({ weights, factors, lambda, normalize, consensus }) : undefined;
    const sum = elect ? undefined : prepareSum(weights.map((w, i) => (lambda * w * factors[i]!) / divisor));
    const sparse = merge.begin();
    tensor.write((chunk, out) => {
      for (const [i, values] of chunk.models.entries()) sparse.thin(values, chunk.base, i, chunk.start);
      if (elect) elect(chunk, out);
      else sum!(chunk.models, out, chunk.base);
    }, align);
  } finally {
    k.release(mark);
  }
}

/** ‖τ‖₁ / ‖sparse τ‖₁ of each model, 1 where either is next to nothing. */
function l1Factors(tensor: MergeTensor<unknown, unknown>, merge: SparseMerge): number[] {
  const [before, after] = [merge.weights.map(() => 0), merge.weights.map(() => 0)];
  const sparse = merge.begin();
  tensor.read((chunk) => {
    for (const [i, values] of chunk.models.entries()) {
      const [all, left] = sparse.norms(values, chunk.base, i, chunk.start);
      before[i] = before[i]! + all;
      after[i] = after[i]! + left;
    }
  }, merge.align);
  return before.map((b, i) => (b >= SMALL && after[i]! >= SMALL ? b / after[i]! : 1));
}
