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
  const channel = (i: number): number => Math.floor(i / inner) % n;
  for (let i = 0; i < data.length; i++) scale[channel(i)] = Math.max(scale[channel(i)]!, Math.abs(data[i]!) / 127);
  const codes = Int8Array.from(data, (x, i) => (scale[channel(i)] === 0 ? 0 : Math.round(x / scale[channel(i)]!)));
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

/** A frozen weight for `quantizedMatmul`: W f32[k, n] for the forward pass, Wᵀ for the backward pass. */
export type QuantizedWeight<T> = {
  readonly forward: QuantizedMatrix<T>;
  readonly backward: QuantizedMatrix<T>;
};

export interface QuantizeWeightOptions {
  /** How the weight lies: f32[out, in] ("out-in", torch's Linear) or f32[in, out]. */
  readonly layout: "out-in" | "in-out";
  /** Inputs whose values are far larger than the others': their weights stay f32. See {@link outlierColumns}. Default none. */
  readonly columns?: readonly number[];
  /** The same for the outputs, whose gradients the backward pass multiplies. Default none. */
  readonly gradientColumns?: readonly number[];
}

/** A frozen weight for `quantizedMatmul`, with the transposed copy for the backward pass. 2 bytes per element in all. */
export function quantizeWeight(w: HostTensor, options: QuantizeWeightOptions): QuantizedWeight<HostTensor> {
  const data = requireF32(w);
  const [rows, columns] = w.shape;
  if (rows === undefined || columns === undefined || w.shape.length !== 2)
    throw new LfmError("SHAPE_MISMATCH", `[@lfm/core] quantizeWeight takes a matrix, got [${w.shape}]`);
  const turned = new Float32Array(data.length);
  for (let i = 0; i < rows; i++) for (let j = 0; j < columns; j++) turned[j * rows + i] = data[i * columns + j]!;
  const other = hostTensor("f32", [columns, rows], turned);
  const [forward, backward] = options.layout === "in-out" ? [w, other] : [other, w];
  return {
    forward: quantizeMatrix(forward, options.columns ?? []),
    backward: quantizeMatrix(backward, options.gradientColumns ?? []),
  };
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

/** The `count` columns of f32[..., k] with the largest magnitudes, ascending: found on a calibration batch, once per layer. 16–32 pay. */
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
