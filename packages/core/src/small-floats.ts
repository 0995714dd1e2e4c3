/** bf16, f16 and the two f8 of files: widening to f32 by table or shift, narrowing with round to nearest even. */
import type { DType, HostTensor } from "./dtype.js";
import { LfmError } from "./errors.js";

/** A float type that arrays hold as raw bits. */
export type SmallFloat = "bf16" | "f16" | "f8e4m3" | "f8e5m2";

interface Format {
  readonly exponent: number;
  readonly fraction: number;
  /** f8e4m3 (fn): no infinities, one NaN; its largest exponent holds numbers. */
  readonly finite?: true;
}

const formats: Readonly<Record<SmallFloat, Format>> = {
  bf16: { exponent: 8, fraction: 7 },
  f16: { exponent: 5, fraction: 10 },
  f8e4m3: { exponent: 4, fraction: 3, finite: true },
  f8e5m2: { exponent: 5, fraction: 2 },
};

export function isSmallFloat(dtype: DType): dtype is SmallFloat {
  return dtype in formats;
}

/** The number behind the bits of one element. */
export function smallFloatToNumber(dtype: SmallFloat, bits: number): number {
  const { exponent, fraction, finite } = formats[dtype];
  const sign = bits >>> (exponent + fraction) ? -1 : 1;
  const e = (bits >>> fraction) & (2 ** exponent - 1);
  const f = bits & (2 ** fraction - 1);
  const bias = 2 ** (exponent - 1) - 1;
  const top = 2 ** exponent - 1;
  if (e === top && (finite ? f === 2 ** fraction - 1 : true)) {
    if (finite || f !== 0) return Number.NaN;
    return sign * Number.POSITIVE_INFINITY;
  }
  return e === 0 ? sign * f * 2 ** (1 - bias - fraction) : sign * (1 + f / 2 ** fraction) * 2 ** (e - bias);
}

/** The number behind bf16 bits. */
export function bf16ToNumber(bits: number): number {
  return smallFloatToNumber("bf16", bits);
}

/** The number behind IEEE half bits. */
export function f16ToNumber(bits: number): number {
  return smallFloatToNumber("f16", bits);
}

/** Values of every bit pattern, made on first use: 256 or 65,536 numbers. */
const tables: Partial<Record<SmallFloat, Float32Array>> = {};

/** The f32 behind every bit pattern: 256 or 65,536 numbers, to be read only. */
export function smallFloatTable(dtype: SmallFloat): Float32Array {
  const { exponent, fraction } = formats[dtype];
  tables[dtype] ??= Float32Array.from({ length: 2 ** (1 + exponent + fraction) }, (_, bits) => smallFloatToNumber(dtype, bits));
  return tables[dtype];
}

/** f32 values of a tensor of small floats. Exact: every one of them is an f32. */
export function widen(t: HostTensor): Float32Array {
  const bits = t.data as Uint16Array;
  const out = new Float32Array(bits.length);
  if (t.dtype === "bf16") {
    const words = new Uint32Array(out.buffer);
    for (let i = 0; i < bits.length; i++) words[i] = bits[i]! << 16;
    return out;
  }
  const table = smallFloatTable(t.dtype as SmallFloat);
  for (let i = 0; i < bits.length; i++) out[i] = table[bits[i]!]!;
  return out;
}

/** f32 copy of a tensor of any type. */
export function widenToF32(t: HostTensor): HostTensor {
  const data = isSmallFloat(t.dtype)
    ? widen(t)
    : t.data instanceof Float32Array
      ? t.data.slice()
      : Float32Array.from(t.data as ArrayLike<number>, Number);
  return { dtype: "f32", shape: t.shape, data };
}

/**
 * A tensor in another float type, rounded to nearest even; NaN stays NaN, what is too large becomes infinite (NaN in f8e4m3, which has none).
 * @throws {LfmError} DTYPE_UNSUPPORTED for types that are no floats
 */
export function convertFloat(t: HostTensor, dtype: "f32" | "f64" | SmallFloat): HostTensor {
  if (t.dtype === dtype) return t;
  if (!isFloatType(t.dtype)) throw new LfmError("DTYPE_UNSUPPORTED", `[@lfm/core] ${t.dtype} is no float type: it cannot become ${dtype}`);
  const wide = t.dtype === "f64" ? (t.data as Float64Array) : isSmallFloat(t.dtype) ? widen(t) : (t.data as Float32Array);
  if (dtype === "f32") return { dtype, shape: t.shape, data: Float32Array.from(wide) };
  if (dtype === "f64") return { dtype, shape: t.shape, data: Float64Array.from(wide) };
  const words = wide instanceof Float64Array ? oddWords(wide) : new Uint32Array(wide.buffer, wide.byteOffset, wide.length);
  return { dtype, shape: t.shape, data: dtype === "bf16" ? narrowBf16(words) : narrow(words, dtype) };
}

/**
 * f32 bits of f64 values, rounded towards zero with the last bit set where that was not exact ("round to odd"):
 * rounding them once more, to a type that is at least two bits shorter, is as good as rounding once.
 */
function oddWords(values: Float64Array): Uint32Array {
  const floats = Float32Array.from(values);
  const words = new Uint32Array(floats.buffer);
  for (let i = 0; i < words.length; i++) {
    const [x, y] = [values[i]!, floats[i]!];
    if (x === y || Number.isNaN(x)) continue;
    words[i] = (Math.abs(y) > Math.abs(x) ? words[i]! - 1 : words[i]!) | 1;
  }
  return words;
}

export function isFloatType(dtype: DType): boolean {
  return dtype === "f32" || dtype === "f64" || isSmallFloat(dtype);
}

/** The upper half of the word, rounded to even on the lower; NaN keeps a bit that says so. */
function narrowBf16(words: Uint32Array): Uint16Array {
  const out = new Uint16Array(words.length);
  for (let i = 0; i < words.length; i++) {
    const w = words[i]!;
    out[i] = (w & 0x7fffffff) > 0x7f800000 ? (w >>> 16) | 0x40 : (w + 0x7fff + ((w >>> 16) & 1)) >>> 16;
  }
  return out;
}

/** f32 bits to fewer: the exponent is re-based, the fraction shifted and rounded to even; a carry moves into the exponent by itself. */
function narrow(words: Uint32Array, dtype: Exclude<SmallFloat, "bf16">): Uint16Array | Uint8Array {
  const { exponent, fraction, finite } = formats[dtype];
  const out = exponent + fraction > 7 ? new Uint16Array(words.length) : new Uint8Array(words.length);
  const bias = 2 ** (exponent - 1) - 1;
  const top = (2 ** exponent - 1) << fraction;
  const nan = finite ? top | (2 ** fraction - 1) : top | (1 << (fraction - 1));
  const [largest, overflow] = finite ? [nan - 1, nan] : [top - 1, top];
  const shift = 23 - fraction;
  const half = (1 << (shift - 1)) - 1;
  const rebase = (127 - bias) << 23;
  const smallestNormal = (128 - bias) << 23;
  for (let i = 0; i < words.length; i++) {
    const w = words[i]!;
    const a = w & 0x7fffffff;
    let bits: number;
    if (a >= smallestNormal) {
      const moved = a - rebase;
      bits = a > 0x7f800000 ? nan : Math.min(overflow, (moved + half + ((moved >>> shift) & 1)) >>> shift);
      if (bits > largest && bits !== nan) bits = overflow;
    } else {
      // The fraction with its hidden one, shifted down to the unit of the subnormals; 25 and more leave nothing.
      const down = shift + 128 - bias - (a >>> 23);
      const m = (a & 0x7fffff) | 0x800000;
      bits = down > 24 ? 0 : (m + (1 << (down - 1)) - 1 + ((m >>> down) & 1)) >>> down;
    }
    out[i] = ((w >>> 31) << (exponent + fraction)) | bits;
  }
  return out;
}
