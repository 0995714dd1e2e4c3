import { type FileTensor, type HostTensor, LfmError } from "@lfm/core";
import type { Statistics } from "./statistics.js";

/** Statistics of a model, which must be there and of the kind that a merge reads. @throws {LfmError} CONFIG_INVALID */
export function requireKind(found: Statistics | undefined, kind: Statistics["kind"], model: string): Statistics {
  if (!found)
    throw new LfmError("CONFIG_INVALID", `[@lfm/reuse] no statistics for "${model}"`, {
      hint: `take them with: lfm stats ${kind} ${model} --data examples.jsonl --out ${model}.${kind}.safetensors`,
    });
  if (found.kind === kind) return found;
  throw new LfmError("CONFIG_INVALID", `[@lfm/reuse] this merge reads ${kind} statistics; those of "${model}" are of kind ${found.kind}`, {
    hint: `take them with: lfm stats ${kind} ${model} --data examples.jsonl --out ${model}.${kind}.safetensors`,
  });
}

/** What statistics say about one tensor; undefined where they say nothing. @throws {LfmError} SHAPE_MISMATCH */
export function findStatistics(
  { kind, tensors, layouts }: Statistics,
  name: string,
  shape: readonly number[],
  model: string,
): { readonly tensor: HostTensor | FileTensor; readonly layout?: "out-in" | "in-out" } | undefined {
  if (!Object.hasOwn(tensors, name)) return undefined;
  const tensor = tensors[name]!;
  const layout = kind === "gram" ? (layouts[name] ?? "out-in") : undefined;
  const inputs = (layout === "in-out" ? shape[0] : shape.at(-1)) ?? 1;
  const wanted = layout ? [inputs, inputs] : shape;
  if (tensor.shape.join() !== wanted.join())
    throw new LfmError("SHAPE_MISMATCH", `[@lfm/reuse] statistics of "${name}" of "${model}" are [${tensor.shape}], not [${wanted}]`, {
      hint: "they were taken with another architecture",
    });
  return { tensor, ...(layout ? { layout } : {}) };
}
