import { LfmError, type MethodContext, throwIfAborted, type Weight } from "@lfm/core";
import { checkInputs, type MergeInputs, type MergeOutput } from "../inputs.js";
import type { MergeTensor } from "../merging/define-merge.js";
import { eachTensor, valuesOf } from "../merging/in-memory.js";
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
  const [first] = Object.values(models);
  return eachTensor({ models, ...(base ? { base } : {}) }, context, (name, sink) => {
    const { shape } = first![name]!;
    const known = statistics.map((s) => s.tensors[name] && fitting(s.tensors[name], shapeOf(name, shape), name));
    const tensor = tensorRun({
      name,
      shape,
      parameters: {},
      models: Object.entries(models).map(([model, weights]) => ({ name: model, parameters: {}, source: valuesOf(weights[name]!) })),
      base: undefined,
      sink,
      rng: context.rng.split(name),
      totals: [],
      check: () => throwIfAborted(context.signal, `[@lfm/reuse] "${name}"`),
    });
    merge(tensor, known);
  });
}

function fitting(statistic: Weight, shape: readonly number[], name: string): ValueSource {
  if (statistic.shape.join() !== shape.join())
    throw new LfmError("SHAPE_MISMATCH", `[@lfm/reuse] statistics of "${name}" are [${statistic.shape}], not [${shape}]`, {
      hint: "they were taken with another architecture",
    });
  return valuesOf(statistic);
}
