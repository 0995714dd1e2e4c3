import { LfmError } from "./errors.js";

/** Element types of tensors. Graphs compute in f32, i32 and bool; files may hold the others, which are widened on load. */
export type DType =
  | "f32"
  | "i32"
  | "bool"
  | "bf16"
  | "f16"
  | "f8e4m3"
  | "f8e5m2"
  | "f64"
  | "i8"
  | "u8"
  | "i16"
  | "u16"
  | "u32"
  | "i64"
  | "u64";

export type TypedArray =
  | Float32Array
  | Float64Array
  | Int32Array
  | Uint32Array
  | Int16Array
  | Uint16Array
  | Int8Array
  | Uint8Array
  | BigInt64Array
  | BigUint64Array;

/**
 * A tensor in host memory: row-major, contiguous, no views.
 * Arrays are those of the name (f32 → Float32Array, i64 → BigInt64Array …); bool and the two f8 → Uint8Array, bf16 and f16 → Uint16Array (raw bits).
 */
export interface HostTensor {
  readonly dtype: DType;
  readonly shape: readonly number[];
  readonly data: TypedArray;
}

type ArrayOf = new (buffer: ArrayBuffer, offset?: number, length?: number) => TypedArray;

const arrayOf: Readonly<Record<DType, ArrayOf>> = {
  f32: Float32Array,
  i32: Int32Array,
  bool: Uint8Array,
  bf16: Uint16Array,
  f16: Uint16Array,
  f8e4m3: Uint8Array,
  f8e5m2: Uint8Array,
  f64: Float64Array,
  i8: Int8Array,
  u8: Uint8Array,
  i16: Int16Array,
  u16: Uint16Array,
  u32: Uint32Array,
  i64: BigInt64Array,
  u64: BigUint64Array,
};

export const bytesPerElement: Readonly<Record<DType, number>> = {
  f32: 4,
  i32: 4,
  bool: 1,
  bf16: 2,
  f16: 2,
  f8e4m3: 1,
  f8e5m2: 1,
  f64: 8,
  i8: 1,
  u8: 1,
  i16: 2,
  u16: 2,
  u32: 4,
  i64: 8,
  u64: 8,
};

/** Number of elements of a concrete shape; 1 for a scalar. */
export function sizeOf(shape: readonly number[]): number {
  let n = 1;
  for (const d of shape) n *= d;
  return n;
}

/** A zero-filled array of `n` elements that holds dtype `dtype`. */
export function allocate(dtype: DType, n: number): TypedArray {
  return viewAs(dtype, new ArrayBuffer(n * bytesPerElement[dtype]));
}

/** The bytes of a buffer (from its start, whole elements only) as elements of `dtype`, without copying. Machines are little-endian, as files are. */
export function viewAs(dtype: DType, buffer: ArrayBuffer): TypedArray {
  return new arrayOf[dtype](buffer, 0, Math.floor(buffer.byteLength / bytesPerElement[dtype]));
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
