import { allocate, f32, type HostTensor, i32 } from "./dtype.js";
import { LfmError } from "./errors.js";

export interface PadOptions {
  /** Where the filling goes. Default "right". */
  readonly side?: "left" | "right";
  /** Default 0. */
  readonly fill?: number;
  /** Columns at least. Default 1: no tensor is without elements. */
  readonly length?: number;
  /** The number of columns is raised to a multiple of this. Default 1. */
  readonly multipleOf?: number;
}

/** Rows of tokens side by side. */
export interface PaddedRows {
  /** i32[rows, length] */
  readonly tokens: HostTensor;
  /** f32[rows, length]: 1 where the row has a token, 0 where it was filled up. */
  readonly mask: HostTensor;
}

/** Rows of any lengths as one batch, filled up to the longest. @throws {LfmError} CONFIG_INVALID for counts that are none, and ids that are no 32-bit integers */
export function padRows(rows: readonly ArrayLike<number>[], options: PadOptions = {}): PaddedRows {
  const tokens = padValues("i32", rows, options);
  const [, length] = tokens.shape;
  const mask = new Float32Array(rows.length * length!);
  for (const [i, row] of rows.entries()) {
    const start = startOf(row, i, length!, options);
    mask.fill(1, start, start + row.length);
  }
  return { tokens, mask: f32(mask, tokens.shape) };
}

/**
 * As the tokens of {@link padRows}, for what goes along with them: labels, segments, weights.
 * @returns f32 or i32[rows, length]
 */
export function padValues(dtype: "i32" | "f32", rows: readonly ArrayLike<number>[], options: PadOptions = {}): HostTensor {
  const { fill = 0, length = 1, multipleOf = 1 } = options;
  for (const [name, n] of Object.entries({ length, multipleOf }))
    if (!Number.isInteger(n) || n < 1) throw new LfmError("CONFIG_INVALID", `[@lfm/core] padRows: ${name} is ${n}, not a positive count`);
  let width = length;
  for (const row of rows) width = Math.max(width, row.length);
  width = Math.ceil(width / multipleOf) * multipleOf;
  const data = new (dtype === "i32" ? Int32Array : Float32Array)(rows.length * width);
  if (fill !== 0) data.fill(fill);
  for (const [i, row] of rows.entries()) {
    const start = startOf(row, i, width, options);
    data.set(row, start);
    if (dtype === "i32") requireKept(row, i, data, start);
  }
  return (dtype === "i32" ? i32 : f32)(data, [rows.length, width]);
}

/** Fractions, NaN and numbers beyond 32 bits would become other ids. */
function requireKept(row: ArrayLike<number>, i: number, data: ArrayLike<number>, start: number): void {
  for (let j = 0; j < row.length; j++)
    if (data[start + j] !== row[j]) throw new LfmError("CONFIG_INVALID", `[@lfm/core] padRows: ${row[j]} in row ${i} is no 32-bit integer`);
}

/** Rows of a tensor along its first dimension, as often and in the order asked for. */
export function selectRows(t: HostTensor, rows: readonly number[]): HostTensor {
  const bytes = t.data.byteLength / t.shape[0]!;
  const from = new Uint8Array(t.data.buffer, t.data.byteOffset, t.data.byteLength);
  const data = allocate(t.dtype, (t.data.length / t.shape[0]!) * rows.length);
  const to = new Uint8Array(data.buffer);
  for (const [i, row] of rows.entries()) to.set(from.subarray(row * bytes, (row + 1) * bytes), i * bytes);
  return { ...t, data, shape: [rows.length, ...t.shape.slice(1)] };
}

function startOf(row: ArrayLike<number>, i: number, width: number, { side }: PadOptions): number {
  return i * width + (side === "left" ? width - row.length : 0);
}
