import type { MergeTensor } from "./define-merge.js";
import { kernels } from "./kernels.js";
import { addTaskVectors, prepareElection, toTaskVectors } from "./task-vectors.js";

/** Zeroes entries of a run of model number `model`'s task vector, in place. Called on runs in the order of the tensor. */
export type Sparsify = (values: Float32Array, model: number, start: number) => void;

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
  begin(): Sparsify;
}

/** mergekit's norms below this are left as they are. */
const SMALL = 1e-7;

/** θ₀ + λ·Σ wᵢ·sᵢ·sparse(τᵢ), without or with an election of signs; divided by Σ wᵢ (of those that agree) with `normalize`. */
export function mergeSparse(tensor: MergeTensor<unknown, unknown>, merge: SparseMerge): void {
  const { weights, lambda, normalize, consensus, align } = merge;
  const factors = typeof merge.rescale !== "boolean" ? merge.rescale : merge.rescale ? l1Factors(tensor, merge) : weights.map(() => 1);
  const total = weights.reduce((a, b) => a + b, 0);
  const divisor = normalize && Math.abs(total) >= 1e-8 ? total : 1;
  const scales = weights.map((w, i) => (lambda * w * factors[i]!) / divisor);
  const k = kernels();
  const mark = k.mark();
  try {
    const elect = consensus === "sum" ? prepareElection({ weights, lambda, normalize, consensus }) : undefined;
    const sparsify = merge.begin();
    tensor.write((chunk, out) => {
      toTaskVectors(chunk);
      for (const [i, values] of chunk.models.entries()) {
        sparsify(values, i, chunk.start);
        if (elect && factors[i] !== 1) k.fn.scale(values.byteOffset, values.byteOffset, factors[i]!, values.length);
      }
      if (elect) elect(chunk, out);
      else addTaskVectors(chunk, scales, out);
    }, align);
  } finally {
    k.release(mark);
  }
}

/** ‖τ‖₁ / ‖sparse τ‖₁ of each model, 1 where either is next to nothing. */
function l1Factors(tensor: MergeTensor<unknown, unknown>, merge: SparseMerge): number[] {
  const { fn } = kernels();
  const [before, after] = [merge.weights.map(() => 0), merge.weights.map(() => 0)];
  const sparsify = merge.begin();
  tensor.read((chunk) => {
    toTaskVectors(chunk);
    for (const [i, values] of chunk.models.entries()) {
      before[i] = before[i]! + fn.sumMagnitudes(values.byteOffset, values.length);
      sparsify(values, i, chunk.start);
      after[i] = after[i]! + fn.sumMagnitudes(values.byteOffset, values.length);
    }
  }, merge.align);
  return before.map((b, i) => (b >= SMALL && after[i]! >= SMALL ? b / after[i]! : 1));
}
