import type { HostTensor } from "@lfm/core";
import { firstRows, type Matrix, matrix, row, symmetricEigen } from "@lfm/core/linalg";
import type { Axis, ParameterAxes } from "./axes.js";

export interface Sizes {
  readonly width: number;
  readonly inner: number;
  readonly heads: number;
  readonly kvHeads: number;
  readonly headDim: number;
}

/** How a narrower stream comes out of a wide one. */
export type Narrowing = "pruning" | "svd";

/** A matrix [smaller, larger] that takes an axis to its new size; undefined for one that stays. */
export type Reduce = (axis: Axis) => Matrix | undefined;

export interface Reducers {
  readonly reduce: Reduce;
  /** What norms over the stream are multiplied by: √(ρ·d/d'), ρ the share of the weights' squares that is kept. */
  readonly normScale: number;
}

/** The matrices of every axis of a model, chosen by the sizes of its weights. */
export function reducersOf(
  axes: ReadonlyMap<string, ParameterAxes>,
  tensors: Readonly<Record<string, HostTensor>>,
  { full, ...to }: Sizes & { readonly full: Sizes },
  by: Narrowing,
): Reducers {
  const slabs = slabsOf(axes, tensors);
  const { kept: stream, share } = streamOf(slabs, full.width, to.width, by);
  const made = new Map<string, Matrix | undefined>();
  const once = (key: string, make: () => Matrix | undefined): Matrix | undefined => {
    if (!made.has(key)) made.set(key, make());
    return made.get(key);
  };
  /** Groups of heads that share keys: the queries of a group go with them. */
  const group = full.heads / full.kvHeads;
  const keptGroups = (layer: number | undefined): readonly number[] => {
    const byValue = strengths(slabs, (a) => a.kind === "keys" && a.layer === layer, full.kvHeads * full.headDim);
    const byQuery = strengths(slabs, (a) => a.kind === "queries" && a.layer === layer, full.heads * full.headDim);
    const of = Array.from(
      { length: full.kvHeads },
      (_, g) => sumOf(byValue, g * full.headDim, full.headDim) + sumOf(byQuery, g * group * full.headDim, group * full.headDim),
    );
    return largest(of, to.kvHeads);
  };
  const reduce: Reduce = (axis) => {
    switch (axis.kind) {
      case "whole":
        return undefined;
      case "stream":
        return stream;
      case "inner":
        return to.inner === full.inner
          ? undefined
          : once(`inner ${axis.layer}`, () =>
              strongest(
                strengths(slabs, (a) => a.kind === "inner" && a.layer === axis.layer, full.inner),
                to.inner,
              ),
            );
      case "keys":
      case "queries": {
        if (to.kvHeads === full.kvHeads) return undefined;
        const width = (axis.kind === "queries" ? group : 1) * full.headDim;
        return once(`${axis.kind} ${axis.layer}`, () =>
          selection(
            keptGroups(axis.layer).flatMap((g) => Array.from({ length: width }, (_, i) => g * width + i)),
            axis.size,
          ),
        );
      }
    }
  };
  return { reduce, normScale: stream ? Math.sqrt((share * full.width) / to.width) : 1 };
}

/** The stream's matrix, and the share of the squares of all weights along it that it keeps. */
function streamOf(
  slabs: readonly Slab[],
  size: number,
  to: number,
  by: Narrowing,
): { readonly kept: Matrix | undefined; readonly share: number } {
  if (to === size) return { kept: undefined, share: 1 };
  const shareOf = (of: Float64Array, places: readonly number[]): number =>
    places.reduce((s, i) => s + of[i]!, 0) / Math.max(sumOf(of, 0, size), 1e-300);
  if (by === "pruning") {
    const of = strengths(slabs, (a) => a.kind === "stream", size);
    const places = largest(of, to);
    return { kept: selection(places, size), share: shareOf(of, places) };
  }
  const { values, vectors } = symmetricEigen(gramOf(slabs, size));
  return {
    kept: firstRows(vectors, to),
    share: shareOf(
      values,
      Array.from({ length: to }, (_, i) => i),
    ),
  };
}

/** What a parameter holds at each place of one of its axes: rows of numbers, one for a place. */
interface Slab {
  readonly axis: Axis;
  readonly rows: Matrix;
}

/** Matrices alone: biases and norms say little of what matters. */
function slabsOf(axes: ReadonlyMap<string, ParameterAxes>, tensors: Readonly<Record<string, HostTensor>>): readonly Slab[] {
  return [...axes].flatMap(([name, [first, second]]) => {
    const t = tensors[name]!;
    if (!first || !second || t.shape.length !== 2) return [];
    const [rows, columns] = t.shape as readonly [number, number];
    const at = (r: number, c: number): number => Number(t.data[r * columns + c]);
    const slabs: Slab[] = [];
    let start = 0;
    for (const axis of first) {
      const own = matrix(axis.size, columns);
      for (let r = 0; r < axis.size; r++) for (let c = 0; c < columns; c++) own.data[r * columns + c] = at(start + r, c);
      slabs.push({ axis, rows: own });
      start += axis.size;
    }
    start = 0;
    for (const axis of second) {
      const own = matrix(axis.size, rows);
      for (let c = 0; c < axis.size; c++) for (let r = 0; r < rows; r++) own.data[c * rows + r] = at(r, start + c);
      slabs.push({ axis, rows: own });
      start += axis.size;
    }
    return slabs;
  });
}

/** Σ of squares of all weights at each place of the axes that match. */
function strengths(slabs: readonly Slab[], matches: (axis: Axis) => boolean, size: number): Float64Array {
  const out = new Float64Array(size);
  for (const { axis, rows } of slabs)
    if (matches(axis) && axis.size === size) for (let i = 0; i < size; i++) out[i] = out[i]! + row(rows, i).reduce((s, v) => s + v * v, 0);
  return out;
}

/** Σ W·Wᵀ over all that has the stream as an axis: its eigenvectors are the singular vectors of all of it side by side. */
function gramOf(slabs: readonly Slab[], size: number): Matrix {
  const gram = matrix(size, size);
  for (const { axis, rows } of slabs) {
    if (axis.kind !== "stream") continue;
    for (let i = 0; i < size; i++) {
      const a = row(rows, i);
      for (let j = 0; j <= i; j++) {
        const b = row(rows, j);
        let sum = 0;
        for (let k = 0; k < a.length; k++) sum += a[k]! * b[k]!;
        gram.data[i * size + j] = gram.data[i * size + j]! + sum;
        if (i !== j) gram.data[j * size + i] = gram.data[i * size + j]!;
      }
    }
  }
  return gram;
}

function strongest(of: Float64Array, count: number): Matrix {
  return selection(largest(of, count), of.length);
}

/** Places of the largest values, ascending. */
function largest(of: ArrayLike<number>, count: number): readonly number[] {
  return Array.from(of, (_, i) => i)
    .sort((a, b) => of[b]! - of[a]! || a - b)
    .slice(0, count)
    .sort((a, b) => a - b);
}

/** Rows of the identity. */
function selection(places: readonly number[], size: number): Matrix {
  const out = matrix(places.length, size);
  for (const [r, place] of places.entries()) out.data[r * size + place] = 1;
  return out;
}

function sumOf(of: Float64Array, start: number, count: number): number {
  let sum = 0;
  for (let i = start; i < start + count; i++) sum += of[i]!;
  return sum;
}
