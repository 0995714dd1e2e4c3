import { type HostTensor, hostTensor, sizeOf } from "./dtype.js";
import { LfmError } from "./errors.js";

/** The 16 values of a 4-bit code, before the scale of their block. */
export type CodeBook = "nf4" | "int4";

export const codeValues: Readonly<Record<CodeBook, readonly number[]>> = {
  // Quantiles of the normal distribution (QLoRA, arXiv 2305.14314, appendix E), as bitsandbytes spells them.
  nf4: [
    -1, -0.6961928009986877, -0.5250730514526367, -0.39491748809814453, -0.28444138169288635, -0.18477343022823334, -0.09105003625154495, 0,
    0.07958029955625534, 0.16093020141124725, 0.24611230194568634, 0.33791524171829224, 0.44070982933044434, 0.5626170039176941,
    0.7229568362236023, 1,
  ],
  int4: Array.from({ length: 16 }, (_, code) => code - 8),
};

/** Eight-bit codes with one scale per entry of an axis. */
export interface QuantizedChannels {
  /** i8 of the weight's shape, −127 … 127. */
  readonly codes: HostTensor;
  /** f32[size of the axis] */
  readonly scale: HostTensor;
}

/**
 * Rounds to 8 bits, the largest magnitude of each entry of `axis` being 127: `dequantize` gives it back, at most scale / 2 off.
 * @param w f32[...]
 */
export function quantizeChannels(w: HostTensor, axis: number): QuantizedChannels {
  const data = requireF32(w);
  const n = w.shape[axis];
  if (n === undefined) throw new LfmError("SHAPE_MISMATCH", `[@lfm/core] quantizeChannels: no axis ${axis} in [${w.shape}]`);
  const inner = sizeOf(w.shape.slice(axis + 1));
  const scale = new Float32Array(n);
  const codes = new Int8Array(data.length);
  // Entry j has `inner` elements in a row, n entries follow each other, again and again.
  const each = (visit: (i: number, j: number) => void): void => {
    for (let i = 0; i < data.length; ) for (let j = 0; j < n; j++) for (const end = i + inner; i < end; i++) visit(i, j);
  };
  each((i, j) => {
    const size = Math.abs(data[i]!);
    if (size > scale[j]!) scale[j] = size;
  });
  for (let j = 0; j < n; j++) scale[j] = scale[j]! / 127;
  each((i, j) => {
    codes[i] = scale[j] === 0 ? 0 : Math.round(data[i]! / scale[j]!);
  });
  return { codes: hostTensor("i8", w.shape, codes), scale: hostTensor("f32", [n], scale) };
}

/** Four-bit codes, two a byte, with one scale per block of consecutive elements. */
export interface QuantizedBlocks {
  /** u8[size / 2], the first of two codes in the high half, as bitsandbytes packs them. */
  readonly codes: HostTensor;
  /** f32[size / block] */
  readonly scale: HostTensor;
  /** Shape of the weight. */
  readonly shape: readonly number[];
  readonly book: CodeBook;
}

/**
 * Rounds to the nearest of 16 values per block of the row-major order. "nf4" scales by the largest magnitude; "int4" by −1/8 of the value that
 * has it (GGUF's Q4_0).
 * @param w f32[...]
 * @param options.block elements with one scale; even, divides the size. Default 64
 */
export function quantizeBlocks(w: HostTensor, options: { readonly book: CodeBook; readonly block?: number }): QuantizedBlocks {
  const data = requireF32(w);
  const { book, block = 64 } = options;
  if (block % 2 !== 0 || block <= 0 || data.length % block !== 0)
    throw new LfmError("SHAPE_MISMATCH", `[@lfm/core] quantizeBlocks: [${w.shape}] does not fall into blocks of ${block} (an even number)`);
  const values = codeValues[book];
  const scale = new Float32Array(data.length / block);
  const codes = new Uint8Array(data.length / 2);
  for (let b = 0; b < scale.length; b++) {
    let largest = 0;
    for (const x of data.subarray(b * block, (b + 1) * block)) if (Math.abs(x) > Math.abs(largest)) largest = x;
    const s = Math.fround(book === "nf4" ? Math.abs(largest) : -largest / 8);
    scale[b] = s;
    for (let i = b * block; i < (b + 1) * block; i++) {
      const code = nearest(values, s === 0 ? 0 : data[i]! / s);
      codes[i >> 1] = codes[i >> 1]! | (i % 2 === 0 ? code << 4 : code);
    }
  }
  return { codes: hostTensor("u8", [codes.length], codes), scale: hostTensor("f32", [scale.length], scale), shape: w.shape, book };
}

/** Of ascending values; the lower of two that are equally near. */
function nearest(values: readonly number[], x: number): number {
  let at = 0;
  while (at + 1 < values.length && x > (values[at]! + values[at + 1]!) / 2) at++;
  return at;
}

/**
 * A matrix f32[k, n] in 8 bits per output, but for the rows that meet the outlier columns of its left operand.
 * A type, not an interface: only so it is a tree of weights.
 */
export type QuantizedMatrix<T> = {
  /** i8[k, n]; 0 in the rows that stand in `rows`. */
  readonly codes: T;
  /** f32[n]: the matrix is codes · scale. */
  readonly scale: T;
  /** f32[k]: 0 at `columns`, 1 elsewhere. */
  readonly mask: T;
  /** i32[c], c ≥ 0. */
  readonly columns: T;
  /** f32[c, n] */
  readonly rows: T;
};

/** A frozen weight for `quantizedMatmul`: W f32[k, n] for the forward pass, Wᵀ for the backward pass where there is one in 8 bits. */
export type QuantizedWeight<T> = {
  readonly forward: QuantizedMatrix<T>;
  readonly backward?: QuantizedMatrix<T>;
};

export interface QuantizeWeightOptions {
  /** How the weight lies: f32[out, in] ("out-in", torch's Linear) or f32[in, out]. */
  readonly layout: "out-in" | "in-out";
  /** Inputs whose values are far larger than the others': their weights stay f32. See {@link outlierColumns}. Default none. */
  readonly columns?: readonly number[];
  /** The same for the outputs, whose gradients the backward pass multiplies. Default none. */
  readonly gradientColumns?: readonly number[];
  /** A second copy for the backward pass; without it gradients come from the first, widened to f32 in the run. Default true. */
  readonly transposed?: boolean;
}

/** A frozen weight for `quantizedMatmul`: a byte per element, two with the transposed copy. */
export function quantizeWeight(w: HostTensor, options: QuantizeWeightOptions): QuantizedWeight<HostTensor> {
  const data = requireF32(w);
  const [rows, columns] = w.shape;
  if (rows === undefined || columns === undefined || w.shape.length !== 2)
    throw new LfmError("SHAPE_MISMATCH", `[@lfm/core] quantizeWeight takes a matrix, got [${w.shape}]`);
  const other = hostTensor("f32", [columns, rows], turned(data, rows, columns));
  const [forward, backward] = options.layout === "in-out" ? [w, other] : [other, w];
  return {
    forward: quantizeMatrix(forward, options.columns ?? []),
    ...((options.transposed ?? true) ? { backward: quantizeMatrix(backward, options.gradientColumns ?? []) } : {}),
  };
}

/** f32[rows, columns] the other way round. */
export function transposed(w: HostTensor): HostTensor {
  const [rows, columns] = w.shape as readonly [number, number];
  return hostTensor("f32", [columns, rows], turned(requireF32(w), rows, columns));
}

/** Block by block, so that lines of both sides stay in the cache. */
function turned(data: Float32Array, rows: number, columns: number): Float32Array {
  const out = new Float32Array(data.length);
  const SIDE = 32;
  for (let top = 0; top < rows; top += SIDE)
    for (let left = 0; left < columns; left += SIDE) {
      const [bottom, right] = [Math.min(rows, top + SIDE), Math.min(columns, left + SIDE)];
      for (let i = top; i < bottom; i++) for (let j = left; j < right; j++) out[j * rows + i] = data[i * columns + j]!;
    }
  return out;
}

function quantizeMatrix(w: HostTensor, columns: readonly number[]): QuantizedMatrix<HostTensor> {
  const [k, n] = w.shape as readonly [number, number];
  const rest = Float32Array.from(w.data as Float32Array);
  const mask = new Float32Array(k).fill(1);
  const rows = new Float32Array(columns.length * n);
  for (const [c, column] of columns.entries()) {
    if (!Number.isInteger(column) || column < 0 || column >= k || mask[column] === 0)
      throw new LfmError("SHAPE_MISMATCH", `[@lfm/core] quantizeWeight: outlier column ${column} of ${k} does not exist or is given twice`);
    mask[column] = 0;
    rows.set(rest.subarray(column * n, (column + 1) * n), c * n);
    rest.fill(0, column * n, (column + 1) * n);
  }
  return {
    ...quantizeChannels({ ...w, data: rest }, 1),
    mask: hostTensor("f32", [k], mask),
    columns: hostTensor("i32", [columns.length], Int32Array.from(columns)),
    rows: hostTensor("f32", [columns.length, n], rows),
  };
}

/** The weight f32 that `quantizedMatmul` multiplies by, in the layout that it was given in. */
export function dequantizeWeight({ forward }: QuantizedWeight<HostTensor>, layout: "out-in" | "in-out"): HostTensor {
  const { codes, scale, columns, rows } = forward;
  const [k, n] = codes.shape as readonly [number, number];
  const w = new Float32Array(k * n);
  for (let i = 0; i < w.length; i++) w[i] = Number(codes.data[i]) * Number(scale.data[i % n]);
  for (const [c, column] of (columns.data as Int32Array).entries())
    w.set((rows.data as Float32Array).subarray(c * n, (c + 1) * n), column * n);
  return layout === "in-out" ? hostTensor("f32", [k, n], w) : hostTensor("f32", [n, k], turned(w, k, n));
}

/**
 * The `count` columns of f32[..., k] with the largest magnitudes, ascending: found on a calibration batch, or on the magnitudes that were largest
 * there, once per layer. 16–32 pay.
 */
export function outlierColumns(x: HostTensor, count: number): number[] {
  const data = requireF32(x);
  const k = x.shape.at(-1) ?? 1;
  const largest = new Float64Array(k);
  for (let i = 0; i < data.length; i++) largest[i % k] = Math.max(largest[i % k]!, Math.abs(data[i]!));
  const order = Array.from(largest, (_, i) => i).sort((a, b) => largest[b]! - largest[a]! || a - b);
  return order.slice(0, count).sort((a, b) => a - b);
}

function requireF32(t: HostTensor): Float32Array {
  if (!(t.data instanceof Float32Array)) throw new LfmError("DTYPE_UNSUPPORTED", `[@lfm/core] quantising takes f32, got ${t.dtype}`);
  return t.data;
}
