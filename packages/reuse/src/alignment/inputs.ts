import { type HostTensor, LfmError, type MethodContext, type Model, throwIfAborted } from "@lfm/core";
import { type DataBatch, measureNorms } from "@lfm/statistics";
import { permutationSpec } from "./infer-spec.js";
import type { PermutationSpec } from "./permutation-spec.js";

export interface AlignmentInputs {
  /** By name; the first keeps its order and, where widths differ, its size. Weights must be at hand. */
  readonly models: Readonly<Record<string, Model>>;
  /** Unlabelled batches: for activations, and to measure the statistics of batch norms anew. */
  readonly data?: readonly DataBatch[];
  /** Symmetries of the models, by name, where they are none of the known architectures. */
  readonly specs?: Readonly<Record<string, PermutationSpec>>;
  /** Hash of the first model, recorded in the delta. */
  readonly parent?: string;
}

/** The models of a run with their symmetries, checked. */
export interface AlignedModels {
  readonly names: readonly string[];
  readonly models: readonly Model[];
  readonly specs: readonly PermutationSpec[];
}

/** @throws {LfmError} CONFIG_INVALID for fewer than two models, SHAPE_MISMATCH for unlike ones, CAPABILITY_MISSING */
export function readModels(inputs: AlignmentInputs, method: string): AlignedModels {
  const names = Object.keys(inputs.models);
  if (names.length < 2) throw new LfmError("CONFIG_INVALID", `[@lfm/reuse] ${method} aligns two models or more, got ${names.length}`);
  const models = Object.values(inputs.models);
  const specs = models.map((m, k) => inputs.specs?.[names[k]!] ?? permutationSpec(m));
  for (const [k, m] of models.entries()) {
    const unlike = m.info.architecture !== models[0]!.info.architecture || specs[k]!.groups.length !== specs[0]!.groups.length;
    if (unlike)
      throw new LfmError("SHAPE_MISMATCH", `[@lfm/reuse] ${method}: "${names[k]}" and "${names[0]}" are not built alike`, {
        details: { architectures: models.map((x) => x.info.architecture) },
      });
  }
  return { names, models, specs };
}

/** Merged weights of a model; where there is data, with the statistics of its batch norms measured. */
export async function withNorms(
  model: Model,
  params: Record<string, HostTensor>,
  inputs: AlignmentInputs,
  context: MethodContext,
): Promise<Record<string, HostTensor>> {
  throwIfAborted(context.signal, "[@lfm/reuse] alignment");
  return { ...params, ...(await measureNorms(context.engine, { ...model, params }, inputs.data ?? [], context.signal)) };
}

/** Shares that sum to 1. @throws {LfmError} CONFIG_INVALID */
export function shares(given: readonly number[] | undefined, n: number): readonly number[] {
  if (given === undefined) return new Array<number>(n).fill(1 / n);
  const total = given.reduce((a, b) => a + b, 0);
  if (given.length !== n || !(total > 0))
    throw new LfmError("CONFIG_INVALID", `[@lfm/reuse] ${given.length} weights that sum to ${total} for ${n} models`);
  return given.map((w) => w / total);
}
