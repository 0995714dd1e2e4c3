import { type DType, type FileTensor, isFloatType } from "@lfm/core";
import type { StoredTensor, TensorSource } from "../merging/plan.js";

/** A tensor of an open file as a plan names it. */
export function storedTensor(name: string, { dtype, shape, file }: FileTensor): StoredTensor {
  return { kind: "stored", file: file.path, name, position: file.offset, dtype, shape };
}

export function shapeOf(source: TensorSource): readonly number[] {
  return source.kind === "adapted" || source.kind === "shifted" ? shapeOf(source.weight) : source.shape;
}

/** What an adapter changes keeps its type; gathered rows have the type that holds all they come from. */
export function dtypeOf(source: TensorSource): DType {
  if (source.kind === "stored") return source.dtype;
  return source.kind === "gathered" ? (source.dtype ?? promote(source.of.map(dtypeOf))) : dtypeOf(source.weight);
}

/** The smallest type that holds values of all of them, as torch.promote_types. */
export function promote(types: readonly DType[]): DType {
  const distinct = [...new Set(types)];
  if (distinct.length === 1) return distinct[0]!;
  const floats = distinct.filter(isFloatType);
  if (floats.includes("f64")) return "f64";
  const wide = floats.filter((t) => t === "f32" || t === "bf16" || t === "f16");
  return wide.length === 1 ? wide[0]! : "f32";
}
