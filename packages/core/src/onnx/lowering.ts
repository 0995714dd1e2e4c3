import type { Dim } from "../dims.js";
import type { DType, HostTensor } from "../dtype.js";

/** What an op's ONNX entry may use. Values are names; every method emits nodes in order. */
export interface OnnxLowering {
  /** One node with one result. */
  node(op: string, inputs: readonly string[], attrs?: OnnxAttrs, domain?: "" | "com.microsoft"): string;
  /** One node with several results. */
  nodes(op: string, inputs: readonly string[], outputs: number, attrs?: OnnxAttrs, domain?: "" | "com.microsoft"): readonly string[];
  /** i64[n] initializer, shared by value. */
  i64(values: readonly number[]): string;
  /** i64[n] of dimensions, computed at run time where they are symbolic. */
  dims(dims: readonly Dim[]): string;
  /** x[shape] as a view that no optimiser knows before the values `until` are computed. */
  held(x: string, shape: readonly Dim[], until: readonly string[]): string;
  /** x[shape] as a view that is not known before the run: what is made of a weight by it is not folded into the model. */
  atRunTime(x: string, shape: readonly Dim[]): string;
  /** Initializer of any shape. */
  constant(value: HostTensor): string;
  /** Scalar initializer, shared by value. */
  scalar(value: number, dtype: DType): string;
}

export type OnnxAttrs = Readonly<Record<string, number | string | readonly number[] | { readonly float: number }>>;

/** ONNX TensorProto.DataType of a dtype. */
export const onnxDtype: Readonly<Record<DType, number>> = {
  f32: 1,
  u8: 2,
  i8: 3,
  u16: 4,
  i16: 5,
  i32: 6,
  i64: 7,
  bool: 9,
  f16: 10,
  f64: 11,
  u32: 12,
  u64: 13,
  bf16: 16,
  f8e4m3: 17,
  f8e5m2: 19,
};
