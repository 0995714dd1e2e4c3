/**
 * NuSLERP (mergekit): sin((1−t)Ω)/sin Ω · v₁ + sin(tΩ)/sin Ω · v₂ with t = w₂/(w₁ + w₂) (½ where the weights cancel), on the models, or with
 * a base on their task vectors, to which the base is added. Ω is taken over the whole tensor (`nuslerp_flatten`, default), or for each run
 * along the last axis, or with `nuslerp_row_wise` along the first axis: mergekit's name, though in a [out, in] matrix those are columns.
 * Parallel vectors (1 − cos² ≤ 1e-16) are interpolated linearly. Other than `slerp` there is no t to give, and no threshold of .9995.
 */
import { z } from "zod";
import { defineMerge } from "../merging/define-merge.js";
import { kernels } from "../merging/kernels.js";
import type { MergeTensor } from "../merging/merge-method.js";
import { clampCosine, gramOf, writeCombination } from "../merging/span.js";
import { toTaskVectors } from "../merging/task-vectors.js";

/** Norms are taken as at least this. */
const SMALL = 1e-7;
const PARALLEL = 1e-16;

export const nuslerp = defineMerge({
  id: "nuslerp",
  summary: "Interpolates two models or task vectors along the arc between them, by weights; whole tensors, rows or columns.",
  paper: { title: "mergekit: Tools for merging pretrained large language models", arxiv: "2403.13257", year: 2024 },
  base: "optional",
  models: [2, 2],
  shared: {
    nuslerp_flatten: z.boolean().default(true).describe("one angle for the tensor; off: one for each run along an axis"),
    nuslerp_row_wise: z.boolean().default(false).describe("without flattening: angles along the first axis; off: along the last"),
  },
  perModel: { weight: z.number().default(1).describe("weight w of the model") },
  merge: (tensor) => {
    const [first, second] = tensor.models.map((m) => m.parameters.weight) as [number, number];
    const t = Math.abs(first + second) < 1e-6 ? 0.5 : second / (first + second);
    const { nuslerp_flatten, nuslerp_row_wise } = tensor.parameters;
    if (nuslerp_flatten || tensor.shape.length < 2) {
      const [[aa, ab], [, bb]] = gramOf(tensor) as unknown as [[number, number], [number, number]];
      writeCombination(tensor, arc(aa, bb, ab, t));
    } else if (nuslerp_row_wise) alongFirst(tensor, t);
    else alongLast(tensor, t);
  },
});

/** Coefficients of two vectors of these inner products. */
function arc(aa: number, bb: number, ab: number, t: number): [number, number] {
  const cos = clampCosine(ab / (Math.max(SMALL, Math.sqrt(aa)) * Math.max(SMALL, Math.sqrt(bb))));
  if (1 - cos * cos <= PARALLEL) return [1 - t, t];
  const angle = Math.acos(cos);
  return [Math.sin((1 - t) * angle) / Math.sin(angle), Math.sin(t * angle) / Math.sin(angle)];
}

/** Rows follow each other in memory: one pass. */
function alongLast(tensor: MergeTensor<unknown, unknown>, t: number): void {
  const width = tensor.shape.at(-1)!;
  const { fn } = kernels();
  tensor.write((chunk, out) => {
    if (tensor.hasBase) toTaskVectors(chunk);
    const [a, b] = chunk.models as [Float32Array, Float32Array];
    for (let at = 0; at < chunk.length; at += width) {
      const [pa, pb] = [a.byteOffset + 4 * at, b.byteOffset + 4 * at];
      const [ka, kb] = arc(fn.dot(pa, pa, width), fn.dot(pb, pb, width), fn.dot(pa, pb, width), t);
      for (let j = at; j < at + width; j++) out[j] = ka * a[j]! + kb * b[j]!;
    }
    if (tensor.hasBase) fn.addScaled(out.byteOffset, chunk.base.byteOffset, 1, chunk.length);
  }, width);
}

/** Runs lie across the rows of the first axis: one pass sums up their products, in arrays of a row, one writes. */
function alongFirst(tensor: MergeTensor<unknown, unknown>, t: number): void {
  const width = tensor.elements / tensor.shape[0]!;
  const [aa, bb, ab] = [new Float64Array(width), new Float64Array(width), new Float64Array(width)];
  tensor.read((chunk) => {
    if (tensor.hasBase) toTaskVectors(chunk);
    const [a, b] = chunk.models as [Float32Array, Float32Array];
    for (let at = 0; at < chunk.length; at += width)
      for (let j = 0; j < width; j++) {
        const x = a[at + j]!;
        const y = b[at + j]!;
        aa[j] = aa[j]! + x * x;
        bb[j] = bb[j]! + y * y;
        ab[j] = ab[j]! + x * y;
      }
  }, width);
  const [ka, kb] = [aa, bb];
  for (let j = 0; j < width; j++) [ka[j], kb[j]] = arc(aa[j]!, bb[j]!, ab[j]!, t);
  tensor.write((chunk, out) => {
    if (tensor.hasBase) toTaskVectors(chunk);
    const [a, b] = chunk.models as [Float32Array, Float32Array];
    for (let at = 0; at < chunk.length; at += width)
      for (let j = 0; j < width; j++) out[at + j] = ka[j]! * a[at + j]! + kb[j]! * b[at + j]!;
    if (tensor.hasBase) kernels().fn.addScaled(out.byteOffset, chunk.base.byteOffset, 1, chunk.length);
  }, width);
}
