/**
 * LoRA (arXiv 2106.09685): y = Wx + s·B(Ax), A r×in, B out×r, s = α/r (rsLoRA, arXiv 2312.03732: α/√r).
 * As PEFT: A ~ U(±1/√in) (kaiming-uniform with a = √5), B = 0, so a fresh adapter changes nothing.
 */
import {
  add,
  type Delta,
  defineMethod,
  dropoutAt,
  f32,
  type Hook,
  type HostTensor,
  LfmError,
  linear,
  loadWeight,
  type Model,
  mul,
  type ParamTree,
  type Rng,
  type Site,
  widenToF32,
  zeros,
} from "@lfm/core";
import { trainableParams } from "@lfm/train";
import { z } from "zod";
import { fitDelta, type TuningInputs, type TuningOutput, targetSites, trainingFields, tuningInputs } from "../inputs.js";

const config = z.strictObject({
  r: z.number().int().positive().default(8).describe("rank r of the update"),
  loraAlpha: z.number().positive().default(8).describe("scale numerator α: the update is multiplied by α/r"),
  useRslora: z.boolean().default(false).describe("scale by α/√r instead of α/r"),
  loraDropout: z.number().min(0).max(0.99).default(0).describe("dropout probability on the adapter's input"),
  targetModules: z
    .array(z.string())
    .min(1)
    .default(["all-linear"])
    .describe("layers by path, dotted suffix or role (q, k, v, o, in, gate, out)"),
  ...trainingFields,
});
export type LoraConfig = z.output<typeof config>;

const nameA = (site: Site): string => `${site.path}.lora_A.weight`;
const nameB = (site: Site): string => `${site.path}.lora_B.weight`;

/** α/r or α/√r. */
export function loraScale(c: Pick<LoraConfig, "r" | "loraAlpha" | "useRslora">): number {
  return c.loraAlpha / (c.useRslora ? Math.sqrt(c.r) : c.r);
}

/** Fresh A (uniform) and B (zero) for every site, under PEFT's names. A — f32[r, in], B — f32[out, r]. */
export function initLora(sites: readonly Site[], r: number, rng: Rng): Record<string, HostTensor> {
  const tensors: Record<string, HostTensor> = {};
  for (const site of sites) {
    const { in: width, out } = site.weight!;
    const bound = 1 / Math.sqrt(width);
    tensors[nameA(site)] = f32(rng.split(site.path).uniformArray(r * width, -bound, bound), [r, width]);
    tensors[nameB(site)] = zeros([out, r]);
  }
  return tensors;
}

/** Adds s·B(Ax) to the output of every site that has an adapter among `tensors`. */
export function loraHooks(tensors: ParamTree, c: Pick<LoraConfig, "r" | "loraAlpha" | "useRslora" | "loraDropout">): readonly Hook[] {
  const scale = loraScale(c);
  return [
    {
      matches: (site) => nameA(site) in tensors,
      output: (y, x, site, context) => {
        const low = linear(dropoutAt(x, c.loraDropout, context), tensors[nameA(site)]!, undefined);
        return add(y, linear(mul(low, scale), tensors[nameB(site)]!, undefined));
      },
    },
  ];
}

/**
 * W + s·B·A for every adapted layer, in f32 and in the layout of the checkpoint, and what was trained in full beside it: plain weights, the
 * adapter gone. @throws {LfmError} CONFIG_INVALID for a delta that is no LoRA
 */
export function mergeLora(model: Model, delta: Delta): Record<string, HostTensor> {
  if (delta.method !== "tuning/lora") throw new LfmError("CONFIG_INVALID", `[@lfm/tuning] ${delta.method} is no LoRA: it cannot be merged`);
  const scale = loraScale(delta.config as LoraConfig);
  const merged: Record<string, HostTensor> = {};
  for (const [name, t] of Object.entries(delta.tensors)) if (name in model.params) merged[name] = widenToF32(t);
  for (const site of model.info.sites) {
    const [a, b] = [delta.tensors[nameA(site)], delta.tensors[nameB(site)]];
    if (!a || !b || !site.weight) continue;
    const { in: width, out, layout, name } = site.weight;
    const base = merged[name] ?? widenToF32(loadWeight(model.params[name]!));
    const [data, rank] = [base.data as Float32Array, a.shape[0]!];
    for (let o = 0; o < out; o++)
      for (let i = 0; i < width; i++) {
        let sum = 0;
        for (let k = 0; k < rank; k++) sum += (b.data[o * rank + k] as number) * (a.data[k * width + i] as number);
        const at = layout === "out-in" ? o * width + i : i * out + o;
        data[at] = data[at]! + scale * sum;
      }
    merged[name] = base;
  }
  return merged;
}

export const lora = defineMethod({
  id: "lora",
  paradigm: "tuning",
  summary: "Learns a low-rank update of chosen linear layers; the base stays frozen.",
  paper: { title: "LoRA: Low-Rank Adaptation of Large Language Models", arxiv: "2106.09685", year: 2021, survey: "3.1 weight engineering" },
  needs: ["weights", "grad"],
  inputs: tuningInputs,
  config,
  presets: {
    rslora: { summary: "scale α/√r (arXiv 2312.03732)", config: { useRslora: true } },
    qv: { summary: "queries and values only, as in the paper", config: { targetModules: ["q", "v"] } },
  },
  hooksFor: (c) => (t) => loraHooks(t, c),
  run: (inputs: TuningInputs, c, context): Promise<TuningOutput> => {
    const sites = targetSites(inputs.model, c.targetModules);
    const initial = { ...initLora(sites, c.r, context.rng.split("init")), ...trainableParams(inputs.model, inputs.alsoTrain ?? []) };
    return fitDelta(inputs, c, context, { kind: "weights", method: "tuning/lora", config: c, initial, hooks: (t) => loraHooks(t, c) });
  },
});
