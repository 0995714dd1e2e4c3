import type { HostTensor } from "./dtype.js";
import { isFloatType, isSmallFloat, widen } from "./small-floats.js";

/** Whether no value of a tensor is NaN or infinite; integers never are. */
export function isFiniteTensor(t: HostTensor): boolean {
  if (!isFloatType(t.dtype)) return true;
  const values = (isSmallFloat(t.dtype) ? widen(t) : t.data) as Float32Array | Float64Array;
  // 0 · x is NaN for exactly the values that are looked for: one sum in place of a branch for each.
  let sum = 0;
  for (let i = 0; i < values.length; i++) sum += 0 * values[i]!;
  return sum === 0;
}

/** The name of the first tensor that holds NaN or an infinity; undefined where there is none. */
export function firstNonFinite(tensors: Readonly<Record<string, HostTensor>>): string | undefined {
  return Object.keys(tensors).find((name) => !isFiniteTensor(tensors[name]!));
}
