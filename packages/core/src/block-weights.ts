import { type DType, type HostTensor, hostTensor } from "./dtype.js";
import { LfmError } from "./errors.js";
import { convertFloat, smallFloatTable } from "./small-floats.js";

/**
 * A matrix W f32[n, k], an output in each row, in blocks of consecutive inputs: scale · code + offset.
 * A type, not an interface: only so it is a tree of weights.
 */
export type BlockMatrix<T> = {
  /** u8[n, blocks, bytes]: codes from 0 of 4 bits, the first of two in the low half, or of 8 bits, where 128 stands for 0. */
  readonly codes: T;
  /** f32[n, blocks] */
  readonly scale: T;
  /** f16[n, blocks]; absent with 8 bits. */
  readonly offset?: T;
  /** What of the left operand is not rounded with the rest: its columns i32[c], zeros at these in f32[k], their weights f32[c, n]. */
  readonly outliers?: { readonly columns: T; readonly mask: T; readonly rows: T };
};

export interface BlockedWeight {
  readonly matrix: BlockMatrix<HostTensor>;
  /** Inputs of a block. */
  readonly block: number;
  /** Share of the blocks that hold their values exactly: those of a model that was in such blocks before (GGUF's Q4_1, Q8_0). */
  readonly exact: number;
}

export interface BlockOptions {
  /** Default 4, or 8 where the values were made on a grid of 8 bits. */
  readonly bits?: 8;
  /** Inputs whose weights stay f32, see {@link outlierColumns}. With 8 bits. Default none. */
  readonly columns?: readonly number[];
  /** Type of the file that the values come from: a value is held exactly when it rounds to it. Default f32. */
  readonly dtype?: DType;
  /** f32[k]: how much an error at each input counts, e.g. its mean square on a calibration batch. Default all alike. */
  readonly importance?: HostTensor;
  /** False: the largest and the smallest value of a block are its ends, nothing is searched. Default true. */
  readonly search?: boolean;
}

/** Share of blocks on a grid from which on the matrix counts as made on it. */
const MADE_ON_IT = 0.99;

/**
 * W in blocks: on the grid that its values were made on where they were (GGUF's Q4_1 in 4 bits, Q8_0 in 8), exactly; otherwise in 4 bits with
 * the scale and offset of each block that lose least.
 * @param w f32[n, k]
 * @throws {LfmError} SHAPE_MISMATCH for inputs that do not fall into blocks of 32 or 16
 */
export function quantizeToBlocks(w: HostTensor, options: BlockOptions = {}): BlockedWeight {
  const { dtype = "f32", search = true } = options;
  const [n, k] = w.shape as readonly [number, number];
  const block = [32, 16].find((size) => k % size === 0);
  if (!(w.data instanceof Float32Array) || w.shape.length !== 2 || block === undefined)
    throw new LfmError("SHAPE_MISMATCH", `[@lfm/core] quantizeToBlocks takes f32[n, k] with k divisible by 16, got ${w.dtype}[${w.shape}]`);
  const same = sameIn(dtype);
  if (options.bits === 8) {
    const { rest, outliers } = takenOut(w, options.columns ?? []);
    const eight = onGrid(rest, block, symmetric, same);
    return { block, exact: eight.exact, matrix: { ...packed(n, k / block, block, eight, 8), ...(outliers ? { outliers } : {}) } };
  }
  const { data } = w;
  const four = onGrid(data, block, affine(15), same);
  if (four.exact < MADE_ON_IT) {
    const eight = onGrid(data, block, symmetric, same);
    if (eight.exact >= MADE_ON_IT) return { block, exact: eight.exact, matrix: packed(n, k / block, block, eight, 8) };
    if (search) searchScales(data, k, block, four, options.importance?.data as Float32Array | undefined);
  }
  return { block, exact: four.exact, matrix: packed(n, k / block, block, four, 4) };
}

/** W f32[n, k] as its blocks stand for it. */
export function blocksToF32({ codes, scale, offset, outliers }: BlockMatrix<HostTensor>, block: number): HostTensor {
  const [n, blocks, bytes] = codes.shape as readonly [number, number, number];
  const bytesOf = codes.data as Uint8Array;
  const halves = smallFloatTable("f16");
  const w = new Float32Array(n * blocks * block);
  for (let b = 0; b < n * blocks; b++) {
    const d = Number(scale.data[b]);
    const m = offset ? halves[Number(offset.data[b])]! : 0;
    for (let i = 0; i < block; i++) {
      const byte = bytesOf[b * bytes + (bytes === block ? i : i >> 1)]!;
      const code = bytes === block ? byte - 128 : i % 2 === 0 ? byte & 15 : byte >> 4;
      w[b * block + i] = d * code + m;
    }
  }
  const k = blocks * block;
  const columns = (outliers?.columns.data ?? []) as ArrayLike<number>;
  for (let c = 0; c < columns.length; c++) for (let j = 0; j < n; j++) w[j * k + columns[c]!] = Number(outliers!.rows.data[c * n + j]);
  return hostTensor("f32", [n, k], w);
}

/** The values without these columns, and what is multiplied by them. */
function takenOut(
  w: HostTensor,
  columns: readonly number[],
): { readonly rest: Float32Array; readonly outliers?: NonNullable<BlockMatrix<HostTensor>["outliers"]> } {
  const [n, k] = w.shape as readonly [number, number];
  if (columns.length === 0) return { rest: w.data as Float32Array };
  const rest = Float32Array.from(w.data as Float32Array);
  const [mask, rows] = [new Float32Array(k).fill(1), new Float32Array(columns.length * n)];
  for (const [c, column] of columns.entries()) {
    mask[column] = 0;
    for (let j = 0; j < n; j++) {
      rows[c * n + j] = rest[j * k + column]!;
      rest[j * k + column] = 0;
    }
  }
  return {
    rest,
    outliers: {
      columns: hostTensor("i32", [columns.length], Int32Array.from(columns)),
      mask: hostTensor("f32", [k], mask),
      rows: hostTensor("f32", [columns.length, n], rows),
    },
  };
}

interface Grid {
  /** One per element, 0 … 15 or −128 … 127. */
  readonly codes: Int16Array;
  readonly scale: Float32Array;
  readonly offset: Float32Array;
  readonly exact: number;
}

/** Codes of a block's values, by its ends. */
type Rule = (data: Float32Array, from: number, to: number, codes: Int16Array) => { readonly hasOffset: boolean };

/** 0 for the smallest value, `top` for the largest. */
const affine =
  (top: number): Rule =>
  (data, from, to, codes) => {
    let [low, high] = [data[from]!, data[from]!];
    for (let i = from + 1; i < to; i++) {
      const v = data[i]!;
      if (v < low) low = v;
      if (v > high) high = v;
    }
    const inverse = high > low ? top / (high - low) : 0;
    for (let i = from; i < to; i++) codes[i] = Math.round((data[i]! - low) * inverse);
    return { hasOffset: true };
  };

/** ±127 for the largest magnitude. */
const symmetric: Rule = (data, from, to, codes) => {
  let largest = 0;
  for (let i = from; i < to; i++) largest = Math.max(largest, Math.abs(data[i]!));
  const inverse = largest > 0 ? 127 / largest : 0;
  for (let i = from; i < to; i++) codes[i] = Math.round(data[i]! * inverse);
  return { hasOffset: false };
};

/** Halves beside the best one, the nearest first: what was made on a grid was rounded since. */
const NEAR = [0, -1, 1, -2, 2];

/** Codes by a rule, scales and offsets by least squares; where halves (as in GGUF) give the values back exactly, these. */
function onGrid(data: Float32Array, block: number, rule: Rule, same: (x: number, stored: number) => boolean): Grid {
  const blocks = data.length / block;
  const [codes, scale, offset] = [new Int16Array(data.length), new Float32Array(blocks), new Float32Array(blocks)];
  for (let b = 0; b < blocks; b++) {
    const { hasOffset } = rule(data, b * block, (b + 1) * block, codes);
    const { d, m } = leastSquares(data, codes, b * block, (b + 1) * block, hasOffset);
    [scale[b], offset[b]] = [d, m];
  }
  const halves = smallFloatTable("f16");
  const bits = (x: Float32Array): Uint16Array => convertFloat(hostTensor("f32", [blocks], x), "f16").data as Uint16Array;
  const [scaleBits, offsetBits] = [bits(scale), bits(offset)];
  let exact = 0;
  for (let b = 0; b < blocks; b++) {
    const holds = (d: number, m: number): boolean => {
      for (let i = b * block; i < (b + 1) * block; i++) if (!same(Math.fround(d * codes[i]! + m), data[i]!)) return false;
      return true;
    };
    let found = false;
    for (const i of NEAR) {
      for (const j of offset[b] === 0 ? [0] : NEAR) {
        const [d, m] = [halves[(scaleBits[b]! + i) & 0xffff]!, halves[(offsetBits[b]! + j) & 0xffff]!];
        if (!holds(d, m)) continue;
        [scale[b], offset[b], found] = [d, m, true];
        break;
      }
      if (found) break;
    }
    if (found) exact++;
  }
  return { codes, scale, offset, exact: exact / blocks };
}

/** The d and m (0 without offset) that lose least: Σ (d·code + m − x)². */
function leastSquares(
  data: Float32Array,
  codes: Int16Array,
  from: number,
  to: number,
  hasOffset: boolean,
): { readonly d: number; readonly m: number } {
  const s = to - from;
  let [q, qq, x, qx] = [0, 0, 0, 0];
  for (let i = from; i < to; i++) {
    const [c, v] = [codes[i]!, data[i]!];
    q += c;
    qq += c * c;
    x += v;
    qx += c * v;
  }
  if (!hasOffset) return { d: qq > 0 ? qx / qq : 0, m: 0 };
  const det = s * qq - q * q;
  if (!(det > 1e-12 * s * qq)) return { d: 0, m: x / s };
  return { d: (s * qx - q * x) / det, m: (qq * x - q * qx) / det };
}

/** How many steps the range of a block is cut into: with more than 15 its ends are cut off, with fewer codes are spared. */
const STEPS = [12, 12.5, 13, 13.5, 14, 14.5, 15, 15.5, 16, 16.5, 17, 18];

/** For every block the codes, scale and offset with the smallest error Σ a·(d·code + m − x)² among several ranges, each fitted by least squares. */
function searchScales(data: Float32Array, k: number, block: number, { codes, scale, offset }: Grid, importance?: Float32Array): void {
  const [tried, best] = [new Uint8Array(block), new Uint8Array(block)];
  for (let b = 0; b < scale.length; b++) {
    const [from, column] = [b * block, (b * block) % k];
    let [low, high] = [data[from]!, data[from]!];
    let [s, x, xx] = [0, 0, 0];
    for (let i = 0; i < block; i++) {
      const [v, a] = [data[from + i]!, importance ? importance[column + i]! : 1];
      if (v < low) low = v;
      if (v > high) high = v;
      s += a;
      x += a * v;
      xx += a * v * v;
    }
    let least = Number.POSITIVE_INFINITY;
    for (const steps of high > low && s > 0 ? STEPS : []) {
      const inverse = steps / (high - low);
      // The same at both ends.
      const start = low + ((steps - 15) / 2 / steps) * (high - low);
      let [q, qq, qx] = [0, 0, 0];
      for (let i = 0; i < block; i++) {
        const [v, a] = [data[from + i]!, importance ? importance[column + i]! : 1];
        const place = (v - start) * inverse + 0.5;
        const c = place < 0 ? 0 : place >= 15 ? 15 : Math.floor(place);
        tried[i] = c;
        q += a * c;
        qq += a * c * c;
        qx += a * c * v;
      }
      const det = s * qq - q * q;
      if (!(det > 1e-12 * s * qq)) continue;
      const [d, m] = [(s * qx - q * x) / det, (qq * x - q * qx) / det];
      const error = d * d * qq + 2 * d * m * q + m * m * s - 2 * d * qx - 2 * m * x + xx;
      if (error >= least) continue;
      least = error;
      best.set(tried);
      [scale[b], offset[b]] = [d, m];
    }
    if (least < Number.POSITIVE_INFINITY) codes.set(best, from);
  }
}

function packed(n: number, blocks: number, block: number, { codes, scale, offset }: Grid, bits: 4 | 8): BlockMatrix<HostTensor> {
  const bytes = new Uint8Array(bits === 8 ? codes.length : codes.length / 2);
  if (bits === 8) for (let i = 0; i < codes.length; i++) bytes[i] = codes[i]! + 128;
  else for (let i = 0; i < bytes.length; i++) bytes[i] = codes[2 * i]! | (codes[2 * i + 1]! << 4);
  return {
    codes: hostTensor("u8", [n, blocks, (block * bits) / 8], bytes),
    scale: hostTensor("f32", [n, blocks], scale),
    ...(bits === 4 ? { offset: convertFloat(hostTensor("f32", [n, blocks], offset), "f16") } : {}),
  };
}

/** Whether an f32 becomes this value in a file's type. */
function sameIn(dtype: DType): (x: number, stored: number) => boolean {
  if (dtype === "bf16") {
    const one = new Float32Array(1);
    const word = new Uint32Array(one.buffer);
    return (x, stored) => {
      one[0] = x;
      const w = word[0]!;
      word[0] = ((w + 0x7fff + ((w >>> 16) & 1)) >>> 16) << 16;
      return one[0] === stored;
    };
  }
  // Half a unit in the last place of a half.
  if (dtype === "f16") return (x, stored) => Math.abs(x - stored) <= Math.abs(stored) * 2 ** -11 + 2 ** -25;
  return (x, stored) => x === stored;
}
