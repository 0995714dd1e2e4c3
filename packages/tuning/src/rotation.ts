/** Rotations of a layer's inputs, block by block: what OFT and BOFT have in common. */
import {
  cast,
  constant,
  expandDims,
  f32,
  greater,
  type HookContext,
  LfmError,
  matmul,
  reshape,
  type Site,
  sum,
  type Tensor,
  transpose,
  uniformAt,
  where,
} from "@lfm/core";

/** The identity f32[n, n]. */
export function identity(n: number): Tensor {
  return constant(
    f32(
      Float32Array.from({ length: n * n }, (_, i) => (i % (n + 1) === 0 ? 1 : 0)),
      [n, n],
    ),
  );
}

/**
 * x·R for the block-diagonal R over the last axis of x.
 * @param blocks f32[count, n, n]; a single one stands in every place
 * @param inverse by Rᵀ instead
 */
export function rotated(x: Tensor, blocks: Tensor, inverse = false): Tensor {
  const [count, n] = [blocks.dim(0), blocks.dim(-1)];
  if (count === 1) {
    const rows = reshape(x, [...x.shape.slice(0, -1), -1, n]);
    return reshape(matmul(rows, reshape(blocks, [n, n]), { transB: inverse }), x.shape);
  }
  const byBlock = transpose(reshape(x, [-1, count, n]), [1, 0, 2]);
  return reshape(transpose(matmul(byBlock, blocks, { transB: inverse }), [1, 0, 2]), x.shape);
}

/** What a change of the rows of a weight f32[out, in] makes of the weight as it lies in the checkpoint. */
export function overRows(w: Tensor, { weight }: Site, change: (rows: Tensor) => Tensor): Tensor {
  return weight!.layout === "in-out" ? transpose(change(transpose(w, [1, 0])), [1, 0]) : change(w);
}

/**
 * The blocks with ⌊rate·count⌋ of them, drawn for this step, replaced by the identity; outside of training they stay.
 * @param blocks f32[count, n, n]
 */
export function someStill(blocks: Tensor, rate: number, context: HookContext, label = "blocks"): Tensor {
  const count = blocks.dim(0) as number;
  const still = Math.floor(rate * count);
  const drawn = still === 0 || count === 1 ? undefined : uniformAt([count], context, label);
  if (!drawn) return blocks;
  const before = sum(cast(greater(expandDims(drawn, 1), expandDims(drawn, 0)), "f32"), 1);
  return where(reshape(greater(still, before), [count, 1, 1]), identity(blocks.dim(-1) as number), blocks);
}

/** @throws {LfmError} CONFIG_INVALID unless one of two sizes that follow from each other is given, the other being 0 */
export function requireOneOf(method: string, sizes: Readonly<Record<string, number>>): void {
  const given = Object.entries(sizes).filter(([, n]) => n !== 0);
  if (given.length === 1) return;
  const names = Object.keys(sizes);
  throw new LfmError(
    "CONFIG_INVALID",
    `[@lfm/tuning] ${method} takes one of ${names.join(" and ")}: each follows from the other and the layer's inputs`,
    {
      hint: `put the other one to 0, e.g. ${names[1]} 0`,
    },
  );
}
