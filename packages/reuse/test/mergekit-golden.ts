import { readFileSync } from "node:fs";
import { type HostTensor, loadWeight, type MethodContext, needs, Rng, referenceEngine, runMethod } from "@lfm/core";
import { readSafetensors } from "@lfm/formats";
import { expect } from "vitest";
import type { MergeMethod } from "../src/merging/merge-method.js";
import { tensorRun } from "../src/merging/tensor-run.js";

/** A case of tools/golden/merges.py, which describes the layout. */
export interface GoldenCase {
  readonly name: string;
  readonly method: string;
  readonly input: string;
  readonly models: number;
  readonly base: boolean;
  readonly shared: Readonly<Record<string, unknown>>;
  readonly perModel: Readonly<Record<string, readonly unknown[]>>;
  readonly masks: boolean;
}

const file = (ending: string): string => new URL(`golden/merge-methods.${ending}`, import.meta.url).pathname;
const golden = JSON.parse(readFileSync(file("json"), "utf8")) as { readonly cases: readonly GoldenCase[] };
const stored = readSafetensors(file("safetensors")).tensors;

export const goldenTensor = (name: string): HostTensor => loadWeight(stored[name]!);
export const goldenValues = (name: string): Float32Array => goldenTensor(name).data as Float32Array;
export const goldenOut = (c: GoldenCase): Float32Array => goldenValues(`out/${c.name}`);

/** Cases of one method, under mergekit's name. */
export function goldenCases(method: string): readonly GoldenCase[] {
  const found = golden.cases.filter((c) => c.method === method);
  if (found.length === 0) throw new Error(`no golden of ${method}`);
  return found;
}

const modelsOf = (c: GoldenCase): HostTensor[] => Array.from({ length: c.models }, (_, i) => goldenTensor(`in/${c.input}/model-${i}`));
const context: MethodContext = { engine: referenceEngine(), rng: new Rng(0), access: needs, log: () => {}, progress: () => {} };

/** Runs a case as a user would. `base` is one of the models where the method treats it so. */
export async function runGolden(method: MergeMethod, c: GoldenCase, preset?: string, over: object = {}): Promise<Float32Array> {
  const base = c.base ? { w: goldenTensor(`in/${c.input}/base`) } : undefined;
  const models = Object.fromEntries(modelsOf(c).map((m, i) => [`model-${i}`, { w: m }]));
  const all = base && method.merging.base === "none" ? { base, ...models } : models;
  const config = { ...c.shared, ...c.perModel, ...over };
  const out = await runMethod(method, { models: all, ...(base ? { base } : {}) }, config, context, preset);
  return out.delta.tensors.w!.data as Float32Array;
}

/** The tensor of a case as a method sees it, with all parameters resolved; `result` fills as it is written. */
export function goldenRun(
  method: MergeMethod,
  c: GoldenCase,
  shared: Readonly<Record<string, unknown>>,
): { readonly tensor: Parameters<MergeMethod["merging"]["merge"]>[0]; readonly result: Float32Array } {
  const source = (t: HostTensor) => ({
    read: (start: number, into: Float32Array) => into.set((t.data as Float32Array).subarray(start, start + into.length)),
  });
  const base = goldenTensor(`in/${c.input}/base`);
  const result = new Float32Array(base.data.length);
  const tensor = tensorRun({
    name: "w",
    shape: base.shape,
    parameters: method.merging.shared.parse({ ...shared, ...c.shared }) as Record<string, unknown>,
    models: modelsOf(c).map((m, i) => ({
      name: `model-${i}`,
      parameters: method.merging.perModel.parse(Object.fromEntries(Object.entries(c.perModel).map(([key, v]) => [key, v[i]]))) as Record<
        string,
        unknown
      >,
      source: source(m),
    })),
    base: { parameters: undefined, source: source(base) },
    sink: { write: (start, values) => result.set(values, start) },
    rng: new Rng(0),
    totals: [],
  });
  return { tensor, result };
}

/** Largest difference over the largest magnitude that is wanted. */
export function relativeError(got: ArrayLike<number>, wanted: ArrayLike<number>): number {
  let [most, size] = [0, 0];
  for (let i = 0; i < wanted.length; i++) {
    most = Math.max(most, Math.abs(got[i]! - wanted[i]!));
    size = Math.max(size, Math.abs(wanted[i]!));
  }
  return Number.isNaN(most) ? Number.POSITIVE_INFINITY : most / (size || 1);
}

/** Every deterministic case of a method equals mergekit's. @returns the largest error, for the record */
export async function expectMergekit(method: MergeMethod, name: string, preset?: string): Promise<number> {
  let worst = 0;
  for (const c of goldenCases(name)) {
    if (c.masks) continue;
    const error = relativeError(await runGolden(method, c, preset), goldenOut(c));
    expect(error, c.name).toBeLessThanOrEqual(1e-6);
    worst = Math.max(worst, error);
  }
  return worst;
}
