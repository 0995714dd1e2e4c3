import { readFileSync } from "node:fs";
import { join } from "node:path";
import { type HostTensor, loadWeight, type Weights, widenToF32 } from "@lfm/core";
import { readSafetensors } from "@lfm/formats";

/** A fixture made by tools/golden: a small model, inputs, outputs and gradients. */
export interface GoldenFixture {
  readonly folder: string;
  readonly config: Record<string, unknown>;
  readonly weights: Weights;
  /** Tensor `CASE/ROLE/NAME`. */
  get(name: string): HostTensor;
  /** Tensors below `CASE/ROLE/`, by name. */
  all(prefix: string): Record<string, HostTensor>;
}

export function goldenFixture(name: string): GoldenFixture {
  const folder = goldenFolder(name);
  const { tensors } = readSafetensors(join(folder, "golden.safetensors"));
  const all = (prefix: string): Record<string, HostTensor> =>
    Object.fromEntries(
      Object.entries(tensors)
        .filter(([key]) => key.startsWith(prefix))
        .map(([key, t]) => [key.slice(prefix.length), loadWeight(t)]),
    );
  return {
    folder,
    config: JSON.parse(readFileSync(join(folder, "config.json"), "utf8")) as Record<string, unknown>,
    weights: readSafetensors(join(folder, "model.safetensors")).tensors,
    get: (key) => {
      const found = tensors[key];
      if (!found) throw new Error(`the fixture ${name} has no ${key}`);
      return loadWeight(found);
    },
    all,
  };
}

export function goldenFolder(name: string): string {
  return join(import.meta.dirname, "golden", name);
}

/** Largest absolute difference, over positions where `keep` (one value per row of the last axis) is not 0. */
export function maxDifference(a: HostTensor, b: HostTensor, keep?: HostTensor): number {
  const [x, y] = [numbers(a), numbers(b)];
  if (x.length !== y.length) throw new Error(`${x.length} values against ${y.length}`);
  const width = keep ? x.length / keep.data.length : 1;
  let worst = 0;
  for (let i = 0; i < x.length; i++) {
    if (keep && Number(keep.data[Math.floor(i / width)]) === 0) continue;
    const d = Math.abs(x[i]! - y[i]!);
    if (!(d <= worst)) worst = d;
  }
  return worst;
}

export function maxMagnitude(a: HostTensor): number {
  return numbers(a).reduce((m, v) => Math.max(m, Math.abs(v)), 0);
}

function numbers(t: HostTensor): Float32Array {
  return widenToF32(t).data as Float32Array;
}
