import type { GatheredTensor, TensorSource } from "../merging/plan.js";
import { shapeOf } from "./tensor-types.js";

/** Rows of models whose mean a row is. */
export type Row = readonly (readonly [model: number, row: number])[];

/**
 * @param own whose rows plain numbers mean
 * @param rowAt what row i of the result is
 */
export function gatheredTensor(of: readonly TensorSource[], own: number, rows: number, rowAt: (i: number) => Row | number): GatheredTensor {
  // A matrix that no row comes from is not named; the own one is, first.
  const used = [own];
  const starts = new Int32Array(rows + 1);
  for (let i = 0; i < rows; i++) {
    const row = rowAt(i);
    if (typeof row !== "number") for (const [m] of row) if (!used.includes(m)) used.push(m);
    starts[i + 1] = starts[i]! + (typeof row === "number" ? 1 : row.length);
  }
  const pick = new Int32Array(2 * starts[rows]!);
  for (let i = 0, at = 0; i < rows; i++) {
    const row = rowAt(i);
    for (const [m, r] of typeof row === "number" ? [[own, row] as const] : row) {
      pick[at++] = used.indexOf(m);
      pick[at++] = r;
    }
  }
  return { kind: "gathered", of: used.map((m) => of[m]!), starts, pick, shape: [rows, ...shapeOf(of[own]!).slice(1)] };
}
