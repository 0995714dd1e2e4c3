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
import { findStatistics, requireKind, type Statistics } from "@lfm/statistics";
import { checkInputs, type MergeInputs } from "../inputs.js";
import type { MergeMethod, MergeTensor } from "./merge-method.js";
import { tensorRun, type ValueSink } from "./tensor-run.js";
import type { TensorStatistics, ValueSource } from "./tensor-statistics.js";

/** Merges weights that are at hand, tensor by tensor: f32, and integers as in the base or the first model. */
export async function mergeInMemory(
  merging: MergeMethod["merging"],
  inputs: MergeInputs,
  config: Readonly<Record<string, unknown>>,
  context: MethodContext,
): Promise<Record<string, HostTensor>> {
  const { base, models } = checkInputs(inputs, merging.base === "required");
  const names = Object.keys(models);
  const [least, most] = merging.models;
  if (names.length < least || names.length > most)
    throw new LfmError(
      "CONFIG_INVALID",
      `[@lfm/reuse] this method merges ${least === most ? least : `${least} to ${most}`} models, got ${names.length}`,
    );
  const { statistics: kind } = merging;
  const known = kind && names.map((name) => requireKind(inputs.statistics?.[name], kind, name));
  const shared = Object.fromEntries(Object.keys(merging.shared.shape).map((key) => [key, config[key]]));
  const perModel = names.map((_, i) =>
    Object.fromEntries(Object.keys(merging.perModel.shape).map((key) => [key, ofModel(config[key], i, names.length, key)])),
  );
  const [first] = Object.values(models);
  const totals: Float64Array[] = [];
  const runOf = (name: string, sink: ValueSink): MergeTensor =>
    tensorRun({
      name,
      shape: first![name]!.shape,
      parameters: shared,
      models: names.map((model, i) => {
        const weight = models[model]![name]!;
        const statistics = known && tensorStatistics(known[i]!, name, weight.shape, model);
        return { name: model, parameters: perModel[i]!, source: valuesOf(weight), ...(statistics ? { statistics } : {}) };
      }),
      base: base?.[name] && merging.base !== "none" ? { parameters: undefined, source: valuesOf(base[name]) } : undefined,
      sink,
      rng: context.rng.split(name),
      totals,
      check: () => throwIfAborted(context.signal, `[@lfm/reuse] "${name}"`),
    });
  const floats = Object.keys(first!).filter((name) => isFloatType(first![name]!.dtype));
  const count = (name: string): Float64Array => {
    throwIfAborted(context.signal, `[@lfm/reuse] "${name}"`);
    return merging.survey!.count(runOf(name, { write: () => {} }));
  };
  for (let round = merging.survey?.rounds(shared) ?? 0; round > 0; round--) totals.push(sumOf(floats.map(count)));
  return eachTensor({ models, ...(base ? { base } : {}) }, context, (name, sink) => merging.merge(runOf(name, sink)));
}

function tensorStatistics(known: Statistics, name: string, shape: readonly number[], model: string): TensorStatistics | undefined {
  const found = findStatistics(known, name, shape, model);
  return found && { values: valuesOf(found.tensor), ...(found.layout ? { layout: found.layout } : {}) };
}

/** Calls `merge` for every tensor of floating point numbers, in turn; integers are those of the base or the first model. */
async function eachTensor(
  { base, models }: MergeInputs,
  context: MethodContext,
  merge: (name: string, sink: ValueSink) => void,
): Promise<Record<string, HostTensor>> {
  const merged: Record<string, HostTensor> = {};
  const [first] = Object.values(models);
  const names = Object.keys(first!);
  for (const [done, name] of names.entries()) {
    throwIfAborted(context.signal, `[@lfm/reuse] "${name}"`);
    const { shape, dtype } = first![name]!;
    if (isFloatType(dtype)) {
      const data = new Float32Array(sizeOf(shape));
      merge(name, { write: (start, values) => data.set(values, start) });
      merged[name] = { dtype: "f32", shape, data };
    } else merged[name] = loadWeight(base?.[name] ?? first![name]!);
    context.progress({ phase: "merge", done: done + 1, total: names.length, unit: "tensor" });
    await new Promise<void>((resolve) => setImmediate(resolve));
  }
  return merged;
}

/** Element by element. */
export function sumOf(parts: readonly Float64Array[]): Float64Array {
  const sum = new Float64Array(parts[0]?.length ?? 0);
  for (const part of parts) for (let i = 0; i < sum.length; i++) sum[i] = sum[i]! + part[i]!;
  return sum;
}

/** One value for all models, or one each. @throws {LfmError} CONFIG_INVALID */
function ofModel(value: unknown, i: number, models: number, key: string): unknown {
  if (!Array.isArray(value)) return value;
  if (value.length !== models) throw new LfmError("CONFIG_INVALID", `[@lfm/reuse] ${key}: ${value.length} values for ${models} models`);
  return value[i];
}

/** Values that are at hand, widened when they are first asked for. */
function valuesOf(weight: Weight): ValueSource {
  let data: Float32Array | undefined;
  return {
    read: (start, into) => {
      data ??= widenToF32(loadWeight(weight)).data as Float32Array;
      into.set(data.subarray(start, start + into.length));
    },
  };
}
