import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type DType, f32, type HostTensor, loadWeight, Rng, widenToF32 } from "@lfm/core";
import { readSafetensors, readWeights, writeSafetensors } from "@lfm/formats";
import { afterAll } from "vitest";
import { type MergePlan, mergeMethods } from "../src/index.js";
import type { PlannedInput, StoredTensor } from "../src/merging/plan.js";

/** A folder of the test file that imports this. */
export const folder = mkdtempSync(join(tmpdir(), "lfm-merge-"));
afterAll(() => rmSync(folder, { recursive: true }));
/** One tensor is cut into several chunks. */
export const shapes: Readonly<Record<string, readonly number[]>> = {
  "a.weight": [300, 401],
  "b.weight": [7, 5],
  "c.bias": [33],
  "d.empty": [0, 4],
};
export const errorOf = async (work: Promise<unknown>): Promise<unknown> =>
  work.then(
    () => undefined,
    (e: unknown) => e,
  );

export async function writeModel(
  name: string,
  seed: number,
  dtype: "f32" | "bf16" | "f16" | "f8e4m3" = "f32",
  edit = (_: Record<string, HostTensor>): void => {},
): Promise<string> {
  const path = join(folder, `${name}.safetensors`);
  const tensors: Record<string, HostTensor> = Object.fromEntries(
    Object.entries(shapes).map(([key, shape]) => [
      key,
      f32(
        new Rng(seed).split(key).normalArray(
          shape.reduce((a, b) => a * b, 1),
          0.1,
        ),
        [...shape],
      ),
    ]),
  );
  edit(tensors);
  await writeSafetensors(path, { ...tensors, ids: { dtype: "i64", shape: [2], data: BigInt64Array.of(4n, 2n) } }, { dtype });
  return path;
}
export function stored(path: string, name: string): StoredTensor {
  const { dtype, shape, file } = readSafetensors(path).tensors[name]!;
  return { kind: "stored", file: file.path, name, position: file.offset, dtype, shape };
}
export function planOf(
  method: string,
  base: string | undefined,
  models: readonly string[],
  parameters: object,
  perModel: object,
  dtype?: DType,
  workingDtype?: DType,
): MergePlan {
  const { merging } = mergeMethods.find((m) => m.id === method)!;
  const input = (path: string, name: string): PlannedInput => ({
    model: path,
    source: stored(path, name),
    parameters: merging.perModel.parse(perModel) as never,
  });
  return {
    tensors: [...Object.keys(shapes), "ids"].map((name) => {
      const first = stored(models[0]!, name);
      return {
        name,
        shape: first.shape,
        dtype: name === "ids" ? "i64" : (dtype ?? first.dtype),
        method,
        parameters: merging.shared.parse(parameters) as never,
        models: models.map((path) => input(path, name)),
        ...(base ? { base: input(base, name) } : {}),
        ...(workingDtype ? { workingDtype } : {}),
      };
    }),
    texts: { "config.json": "{}\n" },
    copies: {},
    seed: 3,
  };
}
let runs = 0;
export const fresh = (): string => join(folder, `out-${++runs}`);
export const resultOf = (out: string): Record<string, HostTensor> =>
  Object.fromEntries(Object.entries(readWeights(out).weights).map(([k, t]) => [k, loadWeight(t)]));
export const floats = (path: string): Record<string, HostTensor> =>
  Object.fromEntries(Object.keys(shapes).map((name) => [name, widenToF32(loadWeight(readSafetensors(path).tensors[name]!))]));

/** A signal that fires in the last and largest of the tensors, which small merges come to last. */
export function stopInLargest(): AbortSignal {
  const controller = new AbortController();
  const native = Object.getOwnPropertyDescriptor(AbortSignal.prototype, "aborted")!.get!;
  let looks = 0;
  Object.defineProperty(controller.signal, "aborted", {
    get: () => {
      // Two reads and a write for each of two small tensors and the copied one; 300·401 elements are four chunks of as much.
      if (++looks > 15) controller.abort();
      return native.call(controller.signal) as boolean;
    },
  });
  return controller.signal;
}
