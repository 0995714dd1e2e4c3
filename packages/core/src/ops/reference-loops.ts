import { sizeOf } from "../dtype.js";
import type { RefArray } from "../tensor.js";

/** Row-major strides in elements. */
export function stridesOf(shape: readonly number[]): number[] {
  const strides = new Array<number>(shape.length).fill(1);
  for (let i = shape.length - 2; i >= 0; i--) strides[i] = strides[i + 1]! * shape[i + 1]!;
  return strides;
}

/** Calls `visit(linear, index)` for every position of `shape` in row-major order; `index` is reused. */
export function forEachIndex(shape: readonly number[], visit: (linear: number, index: readonly number[]) => void): void {
  const n = sizeOf(shape);
  const index = new Array<number>(shape.length).fill(0);
  for (let linear = 0; linear < n; linear++) {
    visit(linear, index);
    for (let axis = shape.length - 1; axis >= 0; axis--) {
      index[axis] = index[axis]! + 1;
      if (index[axis]! < shape[axis]!) break;
      index[axis] = 0;
    }
  }
}

/** Offsets into an array of `shape` for every position of the broadcast `target`. */
export function broadcastOffsets(shape: readonly number[], target: readonly number[]): Int32Array {
  const own = stridesOf(shape);
  const lead = target.length - shape.length;
  const strides = target.map((_, i) => (i < lead || shape[i - lead] === 1 ? 0 : own[i - lead]!));
  const out = new Int32Array(sizeOf(target));
  forEachIndex(target, (linear, index) => {
    let at = 0;
    for (let i = 0; i < index.length; i++) at += index[i]! * strides[i]!;
    out[linear] = at;
  });
  return out;
}

/** Elementwise over broadcast inputs. */
export function mapBroadcast(inputs: readonly RefArray[], shape: readonly number[], f: (...xs: number[]) => number): Float64Array {
  const offsets = inputs.map((x) => broadcastOffsets(x.shape, shape));
  const out = new Float64Array(sizeOf(shape));
  const args = new Array<number>(inputs.length);
  for (let i = 0; i < out.length; i++) {
    for (let k = 0; k < args.length; k++) args[k] = inputs[k]!.data[offsets[k]![i]!]!;
    out[i] = f(...args);
  }
  return out;
}

/** Splits a shape at an axis: [before, axis, after] element counts. */
export function aroundAxis(shape: readonly number[], axis: number): [number, number, number] {
  return [sizeOf(shape.slice(0, axis)), shape[axis]!, sizeOf(shape.slice(axis + 1))];
}

/** Rounds to the nearest integer, ties to the even one. */
export function roundHalfEven(x: number): number {
  const r = Math.round(x);
  return Math.abs(x % 1) === 0.5 && r % 2 !== 0 ? r - 1 : r;
}

/** erf to f64 accuracy: series below 2.5, continued fraction of erfc above. */
export function erfReference(x: number): number {
  const a = Math.abs(x);
  if (a > 6) return Math.sign(x);
  if (a < 2.5) {
    let term = a;
    let sum = a;
    for (let n = 1; Math.abs(term) > 1e-17 * Math.abs(sum) && n < 200; n++) {
      term *= (-a * a) / n;
      sum += term / (2 * n + 1);
    }
    return (Math.sign(x) * 2 * sum) / Math.sqrt(Math.PI);
  }
  let f = 0;
  for (let k = 60; k > 0; k--) f = k / 2 / (a + f);
  return Math.sign(x) * (1 - Math.exp(-a * a) / Math.sqrt(Math.PI) / (a + f));
}
