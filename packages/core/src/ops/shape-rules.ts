import { type Dim, dimEqual, formatShape } from "../dims.js";
import type { DType } from "../dtype.js";
import { LfmError } from "../errors.js";
import type { Tensor } from "../tensor.js";

/** A negative axis counts from the end. @throws {LfmError} SHAPE_MISMATCH */
export function normalizeAxis(axis: number, rank: number, op: string): number {
  const a = axis < 0 ? axis + rank : axis;
  if (!Number.isInteger(a) || a < 0 || a >= rank)
    throw new LfmError("SHAPE_MISMATCH", `[@lfm/core] ${op}: no axis ${axis} in rank ${rank}`);
  return a;
}

/** NumPy broadcasting; symbols broadcast against 1 and against themselves. @throws {LfmError} SHAPE_MISMATCH */
export function broadcastShapes(a: readonly Dim[], b: readonly Dim[], op: string): Dim[] {
  const rank = Math.max(a.length, b.length);
  const out: Dim[] = [];
  for (let i = 0; i < rank; i++) {
    const x = a[a.length - rank + i] ?? 1;
    const y = b[b.length - rank + i] ?? 1;
    if (dimEqual(x, y) || dimEqual(y, 1)) out.push(x);
    else if (dimEqual(x, 1)) out.push(y);
    else throw new LfmError("SHAPE_MISMATCH", `[@lfm/core] ${op}: ${formatShape(a)} does not broadcast with ${formatShape(b)}`);
  }
  return out;
}

/** @throws {LfmError} DTYPE_UNSUPPORTED when the input is none of `allowed` */
export function requireDtype(x: Tensor, allowed: readonly DType[], op: string): void {
  if (!allowed.includes(x.dtype)) throw new LfmError("DTYPE_UNSUPPORTED", `[@lfm/core] ${op} takes ${allowed.join(" or ")}, got ${x}`);
}

/** @throws {LfmError} SHAPE_MISMATCH */
export function requireRank(x: Tensor, rank: number, op: string): void {
  if (x.rank !== rank) throw new LfmError("SHAPE_MISMATCH", `[@lfm/core] ${op} takes rank ${rank}, got ${x}`);
}

/** @throws {LfmError} SHAPE_MISMATCH */
export function requireDim(a: Dim, b: Dim, what: string): void {
  if (!dimEqual(a, b)) throw new LfmError("SHAPE_MISMATCH", `[@lfm/core] ${what}: ${a} is not ${b}`);
}
