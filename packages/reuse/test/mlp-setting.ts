import { readFileSync } from "node:fs";
import { join } from "node:path";
import { f32, type HostTensor, i32, loadWeight, type Model, sym } from "@lfm/core";
import { readSafetensors } from "@lfm/formats";
import { type LlamaConfig, mlp } from "@lfm/models";
import type { TaskProbe } from "@lfm/statistics";

const folder = join(import.meta.dirname, "golden", "data-merges");
const { tensors } = readSafetensors(join(folder, "golden.safetensors"));

export interface AdaCase {
  readonly granularity: "task" | "layer";
  readonly init: number;
  readonly clamp: boolean;
  readonly losses: readonly number[];
}
export interface DataMergesGolden {
  readonly sizes: readonly number[];
  readonly samples: number;
  readonly batch: number;
  readonly models: readonly string[];
  readonly ada: { readonly steps: number; readonly lr: number };
  readonly "ada-task": AdaCase;
  readonly "ada-layer": AdaCase;
  readonly "ada-clamped": AdaCase;
  readonly smile: Readonly<Record<"narrow" | "wide", { readonly k: number; readonly gate_k: number; readonly top_k: number }>>;
  readonly wemoe: {
    readonly init: number;
    readonly models: readonly string[];
    readonly tokens: readonly (readonly number[])[];
    readonly config: LlamaConfig;
  };
}
export const golden = JSON.parse(readFileSync(join(folder, "golden.json"), "utf8")) as DataMergesGolden;

/** Tensors of the fixture under a prefix. */
export function part(prefix: string): Record<string, HostTensor> {
  const found = Object.entries(tensors).filter(([name]) => name.startsWith(`${prefix}/`));
  if (found.length === 0) throw new Error(`the fixture has nothing under ${prefix}`);
  return Object.fromEntries(found.map(([name, t]) => [name.slice(prefix.length + 1), loadWeight(t)]));
}

const [inputs, ...rest] = golden.sizes;
const planned = mlp({ input_size: inputs!, hidden_sizes: rest.slice(0, -1), output_size: rest.at(-1)!, activation: "tanh" });

/** The fixture's network with one of its sets of weights: `base`, `a`, `b`, `c`. */
export function network(which: string): Model {
  return { ...planned, params: part(`network/${which}`) };
}

/** The examples of a model's task, in batches of the fixture's size. */
export function probe(which: string): TaskProbe {
  const { x, labels } = part(`data/${which}`);
  const [width, rows] = [golden.sizes[0]!, golden.batch];
  const starts = Math.floor(golden.samples / rows);
  return {
    name: which,
    batch: { x: { dtype: "f32", shape: [sym("batch"), width] }, labels: { dtype: "i32", shape: [sym("batch")] } },
    batches: (step) => {
      const at = (step % starts) * rows;
      return {
        x: f32((x!.data as Float32Array).slice(at * width, (at + rows) * width), [rows, width]),
        labels: i32((labels!.data as Int32Array).slice(at, at + rows)),
      };
    },
    input: (batch) => ({ features: batch.x! }),
    scored: ({ logits }, { labels }) => ({ logits: logits!, targets: labels! }),
  };
}

export const settingOf = (names: readonly string[] = golden.models) => ({
  model: network("base"),
  models: Object.fromEntries(names.map((n) => [n, network(n).params])),
  tasks: Object.fromEntries(names.map((n) => [n, probe(n)])),
});

/** Largest difference, in units of the largest wanted value (at least 1). */
export function distance(got: HostTensor, want: HostTensor): number {
  if (got.shape.join() !== want.shape.join()) throw new Error(`[${got.shape}] is not [${want.shape}]`);
  let [off, scale] = [0, 1];
  for (let i = 0; i < want.data.length; i++) {
    off = Math.max(off, Math.abs(Number(got.data[i]) - Number(want.data[i])));
    scale = Math.max(scale, Math.abs(Number(want.data[i])));
  }
  return off / scale;
}
