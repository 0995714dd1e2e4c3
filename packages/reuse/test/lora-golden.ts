import { readFileSync } from "node:fs";
import { loadWeight } from "@lfm/core";
import { type PeftAdapter, readSafetensors } from "@lfm/formats";

interface Layout {
  readonly adapters: Readonly<Record<string, { readonly r: number; readonly alpha: number; readonly use_rslora: boolean }>>;
  readonly merges: readonly {
    readonly name: string;
    readonly adapters: readonly string[];
    readonly weights: readonly number[];
    readonly combination: "linear" | "cat" | "svd";
    readonly rank: number | null;
  }[];
}

const file = (ending: string): string => new URL(`golden/lora-merges.${ending}`, import.meta.url).pathname;
const stored = readSafetensors(file("safetensors")).tensors;
/** The layout is described in tools/golden/lora_merges.py. */
export const loraGolden = JSON.parse(readFileSync(file("json"), "utf8")) as Layout;

export const loraValues = (name: string): Float32Array | undefined =>
  stored[name] ? (loadWeight(stored[name]).data as Float32Array) : undefined;

export function goldenAdapter(name: string): PeftAdapter {
  const { r, alpha, use_rslora } = loraGolden.adapters[name]!;
  const prefix = `adapter/${name}/`;
  const names = Object.keys(stored).filter((key) => key.startsWith(prefix));
  return {
    config: { peft_type: "LORA", r, lora_alpha: alpha, use_rslora } as PeftAdapter["config"],
    tensors: Object.fromEntries(names.map((key) => [key.slice(prefix.length), loadWeight(stored[key]!)])),
  };
}
