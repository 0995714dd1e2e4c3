import { type FileTensor, type HostTensor, LfmError, type Weights } from "@lfm/core";
import { hashWeights } from "@lfm/formats";
import type { Statistics } from "./statistics.js";

/** Statistics of a model, which must be there and of the kind that is read. @throws {LfmError} CONFIG_INVALID */
export function requireKind<K extends Statistics["kind"]>(
  found: Statistics | undefined,
  kind: K,
  model: string,
): Extract<Statistics, { kind: K }> {
  if (!found)
    throw new LfmError("CONFIG_INVALID", `[@lfm/statistics] no statistics for "${model}"`, {
      hint: `take them with: lfm stats ${kind} ${model} --data examples.jsonl --out ${model}.${kind}.safetensors`,
    });
  if (isOfKind(found, kind)) return found;
  throw new LfmError("CONFIG_INVALID", `[@lfm/statistics] ${kind} statistics are read; those of "${model}" are of kind ${found.kind}`, {
    hint: `take them with: lfm stats ${kind} ${model} --data examples.jsonl --out ${model}.${kind}.safetensors`,
  });
}

function isOfKind<K extends Statistics["kind"]>(found: Statistics, kind: K): found is Extract<Statistics, { kind: K }> {
  return found.kind === kind;
}

/** What statistics say about one tensor; undefined where they say nothing. @throws {LfmError} SHAPE_MISMATCH */
export function findStatistics(
  statistics: Statistics,
  name: string,
  shape: readonly number[],
  model: string,
): { readonly tensor: HostTensor | FileTensor; readonly layout?: "out-in" | "in-out" } | undefined {
  const { tensors } = statistics;
  if (!Object.hasOwn(tensors, name)) return undefined;
  const tensor = tensors[name]!;
  const layout = statistics.kind === "gram" ? (statistics.layouts[name] ?? "out-in") : undefined;
  const inputs = (layout === "in-out" ? shape[0] : shape.at(-1)) ?? 1;
  const wanted = layout ? [inputs, inputs] : shape;
  if (tensor.shape.join() !== wanted.join())
    throw new LfmError("SHAPE_MISMATCH", `[@lfm/statistics] statistics of "${name}" of "${model}" are [${tensor.shape}], not [${wanted}]`, {
      hint: "they were taken with another architecture",
    });
  return { tensor, ...(layout ? { layout } : {}) };
}

/** Refuses statistics that were taken with other weights. @throws {LfmError} PARENT_MISMATCH */
export async function verifyStats(statistics: Statistics, weights: Weights, name: string): Promise<void> {
  refuseOtherWeights(statistics, await hashWeights(weights), name);
}

/** The same where the hash of the weights is known. @throws {LfmError} PARENT_MISMATCH */
export function refuseOtherWeights({ kind, model }: Statistics, hash: string, name: string): void {
  if (hash === model) return;
  throw new LfmError("PARENT_MISMATCH", `[@lfm/statistics] the ${kind} statistics given for "${name}" were taken with other weights`, {
    details: { expected: model, found: hash },
    hint: "collect them again with this model",
  });
}
