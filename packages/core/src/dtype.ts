import { LfmError } from "./errors.js";

/** Element types that a graph computes with. Files may hold more (bf16, f16, f8): they are widened on load. */
export type DType = "f32" | "i32" | "bool" | "bf16" | "f16" | "i8" | "u8" | "i64" | "f64";

export type TypedArray = Float32Array | Float64Array | Int32Array | Int8Array | Uint8Array | Uint16Array | BigInt64Array;

/**
 * A tensor in host memory: row-major, contiguous, no views.
 * f32 → Float32Array, i32 → Int32Array, bool and u8 → Uint8Array, i8 → Int8Array, bf16 and f16 → Uint16Array (raw bits),
 * i64 → BigInt64Array, f64 → Float64Array.
 */
export interface HostTensor {
  readonly dtype: DType;
  readonly shape: readonly number[];
  readonly data: TypedArray;
}

export const bytesPerElement: Readonly<Record<DType, number>> = {
  f32: 4,
  i32: 4,
  bool: 1,
  bf16: 2,
  f16: 2,
  i8: 1,
  u8: 1,
  i64: 8,
  f64: 8,
};

/** Number of elements of a concrete shape; 1 for a scalar. */
export function sizeOf(shape: readonly number[]): number {
  let n = 1;
  for (const d of shape) n *= d;
  return n;
}

/** A zero-filled array of `n` elements that holds dtype `dtype`. */
export function allocate(dtype: DType, n: number): TypedArray {
  switch (dtype) {
    case "f32":
      return new Float32Array(n);
    case "f64":
      return new Float64Array(n);
    case "i32":
      return new Int32Array(n);
    case "i8":
      return new Int8Array(n);
    case "bool":
    case "u8":
      return new Uint8Array(n);
    case "bf16":
    case "f16":
      return new Uint16Array(n);
    case "i64":
      return new BigInt64Array(n);
  }
}

/** Checks size against shape. @throws {LfmError} SHAPE_MISMATCH */
export function hostTensor(dtype: DType, shape: readonly number[], data: TypedArray): HostTensor {
  if (data.length !== sizeOf(shape)) {
    throw new LfmError("SHAPE_MISMATCH", `[@lfm/core] ${dtype}[${shape.join(",")}] needs ${sizeOf(shape)} elements, got ${data.length}`);
  }
  return { dtype, shape: [...shape], data };
}

/** f32 tensor from numbers; `shape` defaults to one axis. */
export function f32(data: ArrayLike<number>, shape: readonly number[] = [data.length]): HostTensor {
  return hostTensor("f32", shape, data instanceof Float32Array ? data : Float32Array.from(data));
}

/** i32 tensor from integers; `shape` defaults to one axis. */
export function i32(data: ArrayLike<number>, shape: readonly number[] = [data.length]): HostTensor {
  return hostTensor("i32", shape, data instanceof Int32Array ? data : Int32Array.from(data));
}

/** bool tensor from truthy values; `shape` defaults to one axis. */
export function bool(data: ArrayLike<number | boolean>, shape: readonly number[] = [data.length]): HostTensor {
  return hostTensor(
    "bool",
    shape,
    Uint8Array.from(data as ArrayLike<number>, (x) => (x ? 1 : 0)),
  );
}

/** Zeros of a concrete shape. */
export function zeros(shape: readonly number[], dtype: DType = "f32"): HostTensor {
  return { dtype, shape: [...shape], data: allocate(dtype, sizeOf(shape)) };
}
