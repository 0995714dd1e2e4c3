import {
  type Compiled,
  compile,
  type Engine,
  f32,
  type HostTensor,
  LfmError,
  type Model,
  type ModelInput,
  type ParamTree,
  type Spec,
  type Tensor,
  throwIfAborted,
} from "@lfm/core";
import { batchSpecs, type DataBatch } from "./data-batch.js";

/** Running statistics of batch norms by name; none for a model without. */
export function normStatisticsOf(model: Model): string[] {
  return Object.entries(model.info.params).flatMap(([name, p]) => (p.trainable ? [] : [name]));
}

/**
 * Means and variances of batch norms measured anew, as the average over batches of data: those of merged models are not the merged ones
 * (arXiv 2211.08403). Nothing else changes.
 * @returns parameters to put in place of the old; empty for a model without batch norms
 * @throws {LfmError} CAPABILITY_MISSING where the forward pass gives no new statistics, ABORTED
 */
export async function measureNorms(
  engine: Engine,
  model: Model,
  data: readonly DataBatch[],
  signal?: AbortSignal,
): Promise<Record<string, HostTensor>> {
  const names = normStatisticsOf(model);
  const [first] = data;
  if (names.length === 0 || !first) return {};
  // A step gives (1 − momentum)·old + momentum·batch: with old = 0 and old = 1 both unknowns come out.
  const after = (old: number): Promise<Compiled<Record<string, Spec>, Record<string, Tensor>>> =>
    compile(engine, batchSpecs(first), (input, params) => newStatistics(model, params, input, names), {
      frozen: {
        ...model.params,
        ...Object.fromEntries(names.map((n) => [n, f32(new Float32Array(model.info.params[n]!.shape[0]!).fill(old))])),
      },
    });
  const [zero, one] = [await after(0), await after(1)];
  try {
    const value = (out: Readonly<Record<string, HostTensor>>): number => Number(out[names[0]!]!.data[0]);
    const momentum = 1 - (value(await one(first)) - value(await zero(first)));
    const totals = new Map(names.map((n) => [n, new Float64Array(model.info.params[n]!.shape[0]!)]));
    for (const batch of data) {
      throwIfAborted(signal, "[@lfm/statistics] norms");
      const out = await zero(batch);
      for (const [name, total] of totals) for (let i = 0; i < total.length; i++) total[i]! += Number(out[name]!.data[i]);
    }
    return Object.fromEntries([...totals].map(([name, total]) => [name, f32(Float32Array.from(total, (v) => v / momentum / data.length))]));
  } finally {
    await zero.dispose();
    await one.dispose();
  }
}

function newStatistics(model: Model, params: ParamTree, input: ModelInput, names: readonly string[]): Record<string, Tensor> {
  const { buffers } = model.forward(params, input, { mode: "train" });
  const missing = names.find((n) => !buffers?.[n]);
  if (missing !== undefined) throw new LfmError("CAPABILITY_MISSING", `[@lfm/statistics] the forward pass gives no new "${missing}"`);
  return Object.fromEntries(names.map((n) => [n, buffers![n]!]));
}
