/**
 * LoHa (arXiv 2108.06098): ΔW = α/r · (w1_a·w1_b) ∘ (w2_a·w2_b), an elementwise product of two low-rank matrices, whose rank can reach r². As PEFT:
 * w1_a, w2_a f32[out, r], w1_b, w2_b f32[r, fan-in], all kaiming-uniform but w2_b = 0, so a fresh adapter changes nothing. Kernels of convolutions
 * are flattened, or (`useEffectiveConv2d`) have a core f32[r, r, height, width] with w_a f32[r, out] and w_b f32[r, in] around it.
 */
import { add, type Hook, type HostTensor, matmul, mul, type ParamTree, reshape, type Site, type Tensor, transpose, zeros } from "@lfm/core";
import { z } from "zod";
import { defineTuning } from "../define-tuning.js";
import { fanIn, inOutRefusal, kaimingUniform, laidOut, sizesOf } from "../layer-change.js";
import { type LayerRanks, layerRanks } from "../layer-ranks.js";
import { keptAt, lycorisFields, lycorisOptions, type PartShapes, readLycoris, scaleAt } from "../lycoris.js";
import type { PeftForm } from "../peft-form.js";
import { chosenSites } from "../target-sites.js";
import { trainingFields } from "../training-options.js";

const config = z.strictObject({ ...lycorisFields, ...trainingFields(3e-3) });
type Config = z.output<typeof config>;

const PARTS = ["hada_w1_a", "hada_w1_b", "hada_w2_a", "hada_w2_b", "hada_t1", "hada_t2"] as const;

function shapesAt(site: Site, r: number, { useEffectiveConv2d }: Pick<Config, "useEffectiveConv2d">): PartShapes {
  const { in: width, out, kernel } = sizesOf(site);
  if (useEffectiveConv2d && kernel.some((k) => k > 1)) {
    const [a, b, core] = [
      [r, out],
      [r, width],
      [r, r, ...kernel],
    ];
    return { hada_w1_a: a, hada_w1_b: b, hada_w2_a: a, hada_w2_b: b, hada_t1: core, hada_t2: core };
  }
  const [a, b] = [
    [out, r],
    [r, fanIn(sizesOf(site))],
  ];
  return { hada_w1_a: a, hada_w1_b: b, hada_w2_a: a, hada_w2_b: b };
}

/** One of the two factors, f32[out, fan-in]. */
function factor({ path }: Site, which: 1 | 2, t: ParamTree): Tensor {
  const [a, b, core] = [t[`${path}.hada_w${which}_a`]!, t[`${path}.hada_w${which}_b`]!, t[`${path}.hada_t${which}`]];
  return core ? kernels(core, a, b) : matmul(a, b);
}

/** Σᵢⱼ core[i, j, …]·a[i, out]·b[j, in] as f32[out, in · kernel]. core — f32[r, r, ...kernel], a — f32[r, out], b — f32[r, in] */
export function kernels(core: Tensor, a: Tensor, b: Tensor): Tensor {
  const [r, out, width] = [core.dim(0), a.dim(1), b.dim(1)];
  const area = core.shape.slice(2).reduce((n: number, k) => n * (k as number), 1);
  const rows = reshape(matmul(a, reshape(core, [r, -1]), { transA: true }), [out, r, area]);
  return reshape(transpose(matmul(transpose(rows, [0, 2, 1]), b), [0, 2, 1]), [out, (width as number) * area]);
}

function lohaHooks(t: ParamTree, c: Config): readonly Hook[] {
  const ranks: LayerRanks = layerRanks(c);
  return [
    {
      matches: (site) => `${site.path}.hada_w1_a` in t,
      weight: (w, site, context) => {
        const change = mul(mul(factor(site, 1, t), factor(site, 2, t)), scaleAt(ranks, site));
        const kept = keptAt(c, sizesOf(site).out, context);
        return add(w, laidOut(site, kept ? mul(change, reshape(kept, [-1, 1])) : change));
      },
    },
  ];
}

const peft: PeftForm<Config> = {
  type: "LOHA",
  refusal: (delta, model) => inOutRefusal(Object.keys(delta.tensors), model),
  write: (c, own, model, stored) => ({ options: lycorisOptions(c, own, ["hada_w1_a"], model, stored), tensors: own }),
  read: (adapter, model) =>
    readLycoris(adapter, model, PARTS, [], (site, r) =>
      shapesAt(site, r, { useEffectiveConv2d: adapter.config.peft_type === "LOHA" && adapter.config.use_effective_conv2d }),
    ),
};

export const loha = defineTuning({
  id: "loha",
  summary: "Learns updates that are elementwise products of two low-rank matrices.",
  paper: {
    title: "FedPara: Low-Rank Hadamard Product for Communication-Efficient Federated Learning",
    arxiv: "2108.06098",
    year: 2021,
    survey: "3.1 weight engineering",
  },
  config,
  delta: { hooks: (c, t) => lohaHooks(t, c) },
  peft,
  training: (c) => c,
  start: ({ model }, c, { rng }) => {
    const ranks = layerRanks(c);
    const learned: Record<string, HostTensor> = {};
    for (const site of chosenSites(model, c, ["convolutions"])) {
      const own = rng.split("init").split(site.path);
      for (const [part, shape] of Object.entries(shapesAt(site, ranks.rank(site.path), c)))
        learned[`${site.path}.${part}`] = part === "hada_w2_b" ? zeros(shape) : kaimingUniform(own.split(part), shape);
    }
    return { learned };
  },
});
