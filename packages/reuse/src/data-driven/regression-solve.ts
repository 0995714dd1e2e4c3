import { cholesky, LfmError, solveCholesky } from "@lfm/core";
import type { MergeTensor } from "../merging/define-merge.js";
import { readWhole } from "./scratch.js";
import type { TensorStatistics } from "./statistics-merge.js";

export interface RegressionOptions {
  /** Off-diagonal entries of every Gram matrix are multiplied by this. */
  readonly offDiagonal: number;
  /** Pull of every weight towards the plain average, in units of the mean diagonal of ΣG. */
  readonly ridge: number;
}

/**
 * The linear layer that is nearest to all models' on their own inputs: W = (ΣĜᵢ + ρI)⁻¹ Σ(Ĝᵢ + ρ/n·I)Wᵢ with ρ = ridge·mean diag ΣĜ, inputs first
 * (arXiv 2212.09849, equation 2). Sums and solve in f64. Output units are independent of each other: with layout "out-in" the weights
 * stream in rows and only Gram matrices are held; "in-out" needs the whole matrix at once.
 * @throws {LfmError} SHAPE_MISMATCH, NUMERIC_DIVERGED when ΣĜ is singular
 */
export function mergeByRegression(tensor: MergeTensor, known: TensorStatistics, layout: "out-in" | "in-out", c: RegressionOptions): void {
  const width = tensor.shape[layout === "out-in" ? 1 : 0]!;
  const n = known.length;
  const grams = known.map((source) => scaledGram(source!, width, c.offDiagonal));
  const total = new Float64Array(width * width);
  for (const g of grams) for (let i = 0; i < total.length; i++) total[i] = total[i]! + g[i]!;
  let trace = 0;
  for (let i = 0; i < width; i++) trace += total[i * width + i]!;
  if (!(trace > 0))
    throw new LfmError("NUMERIC_DIVERGED", `[@lfm/reuse] nothing flows into "${tensor.name}": its Gram matrices are zero or not finite`);
  const factor = cholesky(total, c.ridge);
  const pull = (c.ridge * trace) / width / n;
  tensor.write(
    ({ length, models }, out) => {
      const columns = length / width;
      // Element (input p, output o) of a chunk.
      const at = layout === "out-in" ? (p: number, o: number): number => o * width + p : (p: number, o: number): number => p * columns + o;
      const right = new Float64Array(length);
      const w = new Float64Array(length);
      for (const [i, model] of models.entries()) {
        for (let p = 0; p < width; p++) for (let o = 0; o < columns; o++) w[p * columns + o] = model[at(p, o)]!;
        addProduct(right, grams[i]!, w, width, columns, pull);
      }
      const x = solveCholesky(factor, right);
      for (let p = 0; p < width; p++) for (let o = 0; o < columns; o++) out[at(p, o)] = x[p * columns + o]!;
    },
    layout === "out-in" ? width : tensor.elements,
  );
}

function scaledGram(source: NonNullable<TensorStatistics[number]>, width: number, offDiagonal: number): Float32Array {
  const gram = readWhole(source, width * width);
  for (let i = 0; i < width; i++) for (let j = 0; j < width; j++) if (i !== j) gram[i * width + j] = gram[i * width + j]! * offDiagonal;
  return gram;
}

/** into += (G + pull·I)·W. into, W — f64[n·m] */
function addProduct(into: Float64Array, g: Float32Array, w: Float64Array, n: number, m: number, pull: number): void {
  for (let p = 0; p < n; p++)
    for (let q = 0; q < n; q++) {
      const v = g[p * n + q]! + (p === q ? pull : 0);
      if (v === 0) continue;
      for (let o = 0; o < m; o++) into[p * m + o] = into[p * m + o]! + v * w[q * m + o]!;
    }
}
