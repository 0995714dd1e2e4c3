import type { z } from "zod";
import type { Conditional, Scalar, Setting } from "./document.js";

/** Brings a scalar of a file into a parameter's type, or throws. */
export type ReadScalar = (value: Scalar) => unknown;

/**
 * The value of a setting for one tensor, as mergekit 0.1.5 evaluates it.
 * A list of numbers is piecewise linear over the depth, a list of labels or truth values picks by index ⌊t·(n−1)⌋;
 * among conditions the first whose filter is a part of the name counts.
 * @param t depth in [0, 1]; 0 for tensors outside of the layers
 * @returns undefined where no condition fits or the list is empty: then the next wider setting counts
 */
export function evaluateSetting(name: string, setting: Setting, t: number, read: ReadScalar): unknown {
  if (typeof setting !== "object") return read(setting);
  if (setting.length === 0) return undefined;
  if (isConditional(setting)) {
    const found = setting.find(({ filter }) => filter === undefined || filter === "*" || name.includes(filter));
    return found === undefined ? undefined : evaluateSetting(name, found.value, t, read);
  }
  const values = (setting as readonly Scalar[]).map(read);
  const place = t * (values.length - 1);
  const i = Math.floor(place);
  if (!values.every((v) => typeof v === "number")) return values[i];
  const fraction = place - i;
  const [from, to] = [values[i]!, values[Math.min(values.length - 1, i + 1)]!];
  return read((1 - fraction) * from + fraction * to);
}

function isConditional(setting: readonly unknown[]): setting is readonly Conditional[] {
  return typeof setting[0] === "object";
}

/** Spellings of a scalar that pydantic, which mergekit checks with, takes for the same thing. */
function spellings(value: Scalar): readonly Scalar[] {
  if (typeof value === "boolean") return [value, value ? 1 : 0];
  if (typeof value === "number") return value === 0 || value === 1 ? [value, value === 1] : [value];
  const text = value.trim().toLowerCase();
  const number = text === "" ? Number.NaN : Number(text);
  const truth = ["true", "yes", "on", "y", "t", "1"].includes(text)
    ? [true]
    : ["false", "no", "off", "n", "f", "0"].includes(text)
      ? [false]
      : [];
  return [value, ...(Number.isNaN(number) ? [] : [number]), ...truth];
}

/** The first spelling that a schema takes; its complaint about the value as written otherwise. */
export function readAs(schema: z.ZodType, value: Scalar): { readonly value: unknown } | { readonly complaint: string } {
  for (const spelling of spellings(value)) {
    const parsed = schema.safeParse(spelling);
    if (parsed.success) return { value: parsed.data };
  }
  const { error } = schema.safeParse(value);
  return { complaint: (error?.issues[0]?.message ?? "is not understood").replace(/^Invalid input: /, "") };
}
