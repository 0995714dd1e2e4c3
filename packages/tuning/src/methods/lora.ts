/**
 * LoRA (arXiv 2106.09685): y = Wx + s·B(Ax), A r×in, B out×r, s = α/r (rsLoRA, arXiv 2312.03732: α/√r).
 * As PEFT: A ~ U(±1/√in) (kaiming-uniform with a = √5), B = 0, so a fresh adapter changes nothing.
 */
import {
  add,
  dropoutAt,
  f32,
  type Hook,
  type HostTensor,
  LfmError,
  linear,
  matmul,
  mul,
  type ParamTree,
  type Rng,
  type Site,
  zeros,
} from "@lfm/core";
import { loraParts } from "@lfm/formats";
import { z } from "zod";
import { defineTuning } from "../define-tuning.js";
import { expectShape, type PeftForm, siteOf } from "../peft-form.js";
import { targetSites } from "../target-sites.js";
import { trainingFields } from "../training-options.js";

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

/** The same as a change of weights: W + s·B·A in the layout of the checkpoint. */
function loraWeights(tensors: ParamTree, c: Pick<LoraConfig, "r" | "loraAlpha" | "useRslora">): readonly Hook[] {
  return [
    {
      matches: (site) => nameA(site) in tensors,
      weight: (w, site) => {
        const [a, b] = [tensors[nameA(site)]!, mul(tensors[nameB(site)]!, loraScale(c))];
        return add(w, site.weight!.layout === "out-in" ? matmul(b, a) : matmul(a, b, { transA: true, transB: true }));
      },
    },
  ];
}

/** `model.layers.0.self_attn.q_proj.lora_A.weight` → the path of its site. */
const TENSOR = /^(.*)\.lora_[AB]\.weight$/;

const peft: PeftForm<LoraConfig> = {
  type: "LORA",
  write: (c, own, model) => {
    const paths = [...new Set(Object.keys(own).flatMap((name) => TENSOR.exec(name)?.[1] ?? []))];
    const options = {
      r: c.r,
      lora_alpha: c.loraAlpha,
      lora_dropout: c.loraDropout,
      use_rslora: c.useRslora,
      fan_in_fan_out: model.info.sites.some((s) => paths.includes(s.path) && s.weight?.layout === "in-out"),
      target_modules: paths,
    };
    return { options, tensors: own };
  },
  read: (adapter, model) => {
    const { layers, parameters, tokens } = loraParts(adapter);
    const [embedding] = Object.keys(tokens);
    if (embedding !== undefined) throw new LfmError("OP_UNSUPPORTED", `[@lfm/tuning] rows of "${embedding}" have no delta here`);
    const { config: given } = adapter;
    if (given.peft_type !== "LORA") throw new LfmError("INTERNAL", `[@lfm/tuning] lora reads no ${given.peft_type}`);
    const config = {
      r: given.r,
      loraAlpha: given.lora_alpha,
      loraDropout: Math.min(0.99, given.lora_dropout),
      useRslora: given.use_rslora,
      targetModules: Object.keys(layers),
    };
    const tensors: Record<string, HostTensor> = {};
    for (const [path, layer] of Object.entries(layers)) {
      const refused = layer.magnitude ? "DoRA" : layer.bias ? "lora_bias" : layer.embedding ? "LoRA of an embedding" : undefined;
      if (refused) throw new LfmError("OP_UNSUPPORTED", `[@lfm/tuning] ${refused} of "${path}" has no delta here`);
      const site = siteOf(model, path);
      expectShape(`${path}.lora_A.weight`, layer.a, [layer.r, site.weight!.in]);
      expectShape(`${path}.lora_B.weight`, layer.b, [site.weight!.out, layer.r]);
      tensors[nameA(site)] = layer.a;
      // Where a layer has a scale of its own, B takes up what differs.
      const factor = layer.scale / loraScale(config);
      tensors[nameB(site)] =
        factor === 1
          ? layer.b
          : f32(
              (layer.b.data as Float32Array).map((v) => v * factor),
              layer.b.shape,
            );
    }
    return { config, tensors, parameters };
  },
};

export const lora = defineTuning({
  id: "lora",
  summary: "Learns a low-rank update of chosen linear layers; the base stays frozen.",
  paper: { title: "LoRA: Low-Rank Adaptation of Large Language Models", arxiv: "2106.09685", year: 2021, survey: "3.1 weight engineering" },
  config,
  presets: {
    rslora: { summary: "scale α/√r (arXiv 2312.03732)", config: { useRslora: true } },
    qv: { summary: "queries and values only, as in the paper", config: { targetModules: ["q", "v"] } },
  },
  delta: { hooks: (c, tensors) => loraHooks(tensors, c), weights: (c, tensors) => loraWeights(tensors, c) },
  peft,
  training: (c) => c,
  start: ({ model }, c, { rng }) => ({ learned: initLora(targetSites(model, c.targetModules), c.r, rng.split("init")) }),
});
