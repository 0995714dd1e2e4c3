import { type HostTensor, isFloatType, LfmError, loadWeight, type MethodContext, sizeOf, throwIfAborted, type Weight, widenToF32 } from "@lfm/core";
import { checkInputs, type MergeInputs, type MergeOutput } from "../inputs.js";
import type { MergeMethod } from "./define-merge.js";
import { type Arena, tensorRun, type ValueSource } from "./tensor-run.js";

/** Merges weights that are at hand, tensor by tensor; integers are those of the base or the first model. */
export async function mergeInMemory(
  merging: MergeMethod["merging"],
  inputs: MergeInputs,
  config: Readonly<Record<string, unknown>>,
  context: MethodContext,
): Promise<MergeOutput> {
  const { base, models } = checkInputs(inputs, merging.base === "required");
  const names = Object.keys(models);
  const [least, most] = merging.models;
  if (names.length < least || names.length > most)
    throw new LfmError("CONFIG_INVALID", `[@lfm/reuse] this method merges ${least === most ? least : `${least} to ${most}`} models, got ${names.length}`);
  const shared = Object.fromEntries(Object.keys(merging.shared.shape).map((key) => [key, config[key]]));
  const perModel = names.map((_, i) =>
    Object.fromEntries(Object.keys(merging.perModel.shape).map((key) => [key, ofModel(config[key], i, names.length, key)])),
  );
  const params: Record<string, HostTensor> = {};
  const [first] = Object.values(models);
  const all = Object.keys(first!);
  for (const [done, name] of all.entries()) {
    throwIfAborted(context.signal, `[@lfm/reuse] "${name}"`);
    const { shape, dtype } = first![name]!;
    const origin = base?.[name];
    if (isFloatType(dtype)) {
      const data = new Float32Array(sizeOf(shape));
      merging.merge(
        tensorRun({
          name,
          shape,
          parameters: shared,
          models: names.map((model, i) => ({ name: model, parameters: perModel[i]!, source: valuesOf(models[model]![name]!) })),
          base: origin && merging.base !== "none" ? { parameters: undefined, source: valuesOf(origin) } : undefined,
          sink: { write: (start, values) => data.set(values, start) },
          rng: context.rng.split(name),
          arena: heapArena(),
          chunk: 1 << 20,
        }),
      );
      params[name] = { dtype: "f32", shape, data };
    } else params[name] = loadWeight(origin ?? first![name]!);
    context.progress({ phase: "merge", done: done + 1, total: all.length, unit: "tensor" });
  }
  return { params };
}

/** One value for all models, or one each. @throws {LfmError} CONFIG_INVALID */
function ofModel(value: unknown, i: number, models: number, key: string): unknown {
  if (!Array.isArray(value)) return value;
  if (value.length !== models) throw new LfmError("CONFIG_INVALID", `[@lfm/reuse] ${key}: ${value.length} values for ${models} models`);
  return value[i];
}

function valuesOf(weight: Weight): ValueSource {
  const data = widenToF32(loadWeight(weight)).data as Float32Array;
  return { read: (start, into) => into.set(data.subarray(start, start + into.length)) };
}

/** Arrays of the heap: weights that are in memory already fit there. */
function heapArena(): Arena {
  return { capacity: 2 ** 31, take: (length) => new Float32Array(length), clear: () => {} };
}
