import { LfmError } from "@lfm/core";
import { cholesky, solveCholesky } from "@lfm/core/linalg";
import type { MergeTensor } from "../merging/merge-method.js";
import type { TensorStatistics } from "../merging/tensor-statistics.js";
import { CHUNK, readWhole } from "./scratch.js";

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
 * @param known the Gram matrix of each model, [in, in]
 * @throws {LfmError} SHAPE_MISMATCH for models whose weights lie differently, NUMERIC_DIVERGED when ΣĜ is singular
 */
export function mergeByRegression(tensor: MergeTensor<unknown, unknown>, known: readonly TensorStatistics[], c: RegressionOptions): void {
  const layout = known[0]!.layout ?? "out-in";
  if (known.some((s) => (s.layout ?? "out-in") !== layout))
    throw new LfmError("SHAPE_MISMATCH", `[@lfm/reuse] "${tensor.name}" is stored as [out, in] in one model and as [in, out] in another`, {
      hint: "merge models of one architecture",
    });
  const width = inputsOf(tensor.shape, layout);
  const n = known.length;
  const grams = known.map((s) => scaledGram(s, width, c.offDiagonal));
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

/** Bytes that {@link mergeByRegression} holds: Gram matrices, their sum and its factor, and the right-hand sides of a chunk. */
export function regressionBytes(shape: readonly number[], models: number, layout: "out-in" | "in-out"): number {
  const width = inputsOf(shape, layout);
  const chunk = layout === "out-in" ? Math.max(CHUNK, width) : shape[0]! * shape[1]!;
  return (4 * models + 16) * width * width + 24 * chunk;
}

function inputsOf(shape: readonly number[], layout: "out-in" | "in-out"): number {
  return shape[layout === "out-in" ? 1 : 0]!;
}

function scaledGram({ values }: TensorStatistics, width: number, offDiagonal: number): Float32Array {
  const gram = readWhole(values, width * width);
  for (let i = 0; i < width; i++) for (let j = 0; j < width; j++) if (i !== j) gram[i * width + j] = gram[i * width + j]! * offDiagonal;
  return gram;
}

/** into += (G + pull·I)·W, four rows of W at a time: each sum is loaded and stored once for them. into, W — f64[n·m] */
function addProduct(into: Float64Array, g: Float32Array, w: Float64Array, n: number, m: number, pull: number): void {
  for (let p = 0; p < n; p++) {
    const to = p * m;
    for (let o = 0; o < m; o++) into[to + o] = into[to + o]! + pull * w[to + o]!;
    let q = 0;
    for (; q + 4 <= n; q += 4) {
      const at = p * n + q;
      const [a, b, c, d] = [g[at]!, g[at + 1]!, g[at + 2]!, g[at + 3]!];
      const [wa, wb, wc, wd] = [q * m, (q + 1) * m, (q + 2) * m, (q + 3) * m];
      for (let o = 0; o < m; o++) into[to + o] = into[to + o]! + a * w[wa + o]! + b * w[wb + o]! + c * w[wc + o]! + d * w[wd + o]!;
    }
    for (; q < n; q++) {
      const v = g[p * n + q]!;
      for (let o = 0; o < m; o++) into[to + o] = into[to + o]! + v * w[q * m + o]!;
    }
  }
}
