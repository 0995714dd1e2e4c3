import {
  type HostTensor,
  isFloatType,
  LfmError,
  loadWeight,
  type MethodContext,
  sizeOf,
  throwIfAborted,
  type Weight,
  widenToF32,
} from "@lfm/core";
import { checkInputs, type MergeInputs, type MergeOutput } from "../inputs.js";
import type { MergeTensor } from "../merging/define-merge.js";
import { tensorRun, type ValueSource } from "../merging/tensor-run.js";
import type { Statistics } from "./statistics.js";

export interface StatisticsMergeInputs extends MergeInputs {
  /** Statistics of each model, by its name. */
  readonly statistics: Readonly<Record<string, Statistics>>;
}

/** What is known of one tensor of each model, in the order of the models; undefined where nothing is. */
export type TensorStatistics = readonly (ValueSource | undefined)[];

/** One set of statistics for each model, all of one kind. @throws {LfmError} CONFIG_INVALID */
export function statisticsOf(inputs: StatisticsMergeInputs, kind: Statistics["kind"]): readonly Statistics[] {
  return Object.keys(inputs.models).map((name) => {
    const found = inputs.statistics[name];
    if (!found) throw new LfmError("CONFIG_INVALID", `[@lfm/reuse] no statistics for "${name}"`, { hint: "collectStats makes them" });
    if (found.kind !== kind)
      throw new LfmError(
        "CONFIG_INVALID",
        `[@lfm/reuse] this merge reads ${kind} statistics; those of "${name}" are of kind ${found.kind}`,
      );
    return found;
  });
}

/**
 * Merges tensor by tensor; of weights and statistics, those of one tensor are in memory at a time.
 * @param shapeOf the shape that statistics of a tensor must have
 * @throws {LfmError} SHAPE_MISMATCH, PARAM_NOT_FOUND, CONFIG_INVALID, ABORTED
 */
export async function mergeWithStatistics(
  inputs: StatisticsMergeInputs,
  statistics: readonly Statistics[],
  context: MethodContext,
  shapeOf: (name: string, shape: readonly number[]) => readonly number[],
  merge: (tensor: MergeTensor, known: TensorStatistics) => void,
): Promise<MergeOutput> {
  const { models, base } = checkInputs(inputs, false);
  const params: Record<string, HostTensor> = {};
  const [first] = Object.values(models);
  const names = Object.keys(first!);
  for (const [done, name] of names.entries()) {
    throwIfAborted(context.signal, `[@lfm/reuse] "${name}"`);
    const { shape, dtype } = first![name]!;
    if (isFloatType(dtype)) {
      const data = new Float32Array(sizeOf(shape));
      const known = statistics.map((s) => s.tensors[name] && valuesOf(s.tensors[name], shapeOf(name, shape), name));
      const tensor = tensorRun({
        name,
        shape,
        parameters: {},
        models: Object.entries(models).map(([model, weights]) => ({
          name: model,
          parameters: {},
          source: valuesOf(weights[name]!, shape, name),
        })),
        base: undefined,
        sink: { write: (start, values) => data.set(values, start) },
        rng: context.rng.split(name),
        totals: [],
        check: () => throwIfAborted(context.signal, `[@lfm/reuse] "${name}"`),
      });
      merge(tensor, known);
      params[name] = { dtype: "f32", shape, data };
    } else params[name] = loadWeight(base?.[name] ?? first![name]!);
    context.progress({ phase: "merge", done: done + 1, total: names.length, unit: "tensor" });
    await new Promise<void>((resolve) => setImmediate(resolve));
  }
  return { params };
}

function valuesOf(weight: Weight, shape: readonly number[], name: string): ValueSource {
  if (weight.shape.join() !== shape.join())
    throw new LfmError("SHAPE_MISMATCH", `[@lfm/reuse] statistics of "${name}" are [${weight.shape}], not [${shape}]`, {
      hint: "they were taken with another architecture",
    });
  const data = widenToF32(loadWeight(weight)).data as Float32Array;
  return { read: (start, into) => into.set(data.subarray(start, start + into.length)) };
}
