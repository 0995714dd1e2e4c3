/**
 * LoKr (LyCORIS, arXiv 2309.14859; arXiv 2212.10650): ΔW = α/r · w1 ⊗ w2, a Kronecker product. The layer's sides are split into factors as near to
 * each other as they can be, w1 f32[a, c] with the smaller ones and w2 f32[b, d] with the larger; where r is small w2 (and with `decomposeBoth`
 * w1) is itself a product of rank r. As PEFT: w1 = 0 (or its first factor), the rest kaiming-uniform; `initWeights: lycoris` has w2 (or its second
 * factor) at 0 instead. A linear layer never forms ΔW: (w1 ⊗ w2)x is w1·X·w2ᵀ with x as a matrix X f32[c, d].
 */
import {
  add,
  expandDims,
  type Hook,
  type HostTensor,
  linear,
  matmul,
  mul,
  type ParamTree,
  reshape,
  type Site,
  type Tensor,
  transpose,
  zeros,
} from "@lfm/core";
import { z } from "zod";
import { defineTuning } from "../define-tuning.js";
import { inOutRefusal, kaimingUniform, laidOut, sizesOf } from "../layer-change.js";
import { layerRanks } from "../layer-ranks.js";
import { keptAt, lycorisFields, lycorisOptions, type PartShapes, readLycoris, scaleAt } from "../lycoris.js";
import type { PeftForm } from "../peft-form.js";
import { chosenSites } from "../target-sites.js";
import { trainingFields } from "../training-options.js";
import { kernels } from "./loha.js";

const config = z.strictObject({
  ...lycorisFields,
  decomposeBoth: z.boolean().default(false).describe("w1 is of rank r too, where that is less"),
  decomposeFactor: z
    .number()
    .int()
    .min(-1)
    .default(-1)
    .describe("the smaller factor of a side, or the largest that is allowed; -1: as near to the root as can be"),
  rankDropoutScale: z.boolean().default(false).describe("outputs that rankDropout leaves make up for those that it drops"),
  initWeights: z.enum(["default", "lycoris"]).default("default").describe("which factor starts at 0"),
  ...trainingFields(3e-3),
});
type Config = z.output<typeof config>;
type Layout = Pick<Config, "decomposeBoth" | "decomposeFactor" | "useEffectiveConv2d">;

const PARTS = ["lokr_w1", "lokr_w1_a", "lokr_w1_b", "lokr_w2", "lokr_w2_a", "lokr_w2_b", "lokr_t2"] as const;
const FIRST = ["lokr_w1", "lokr_w1_a"];

/** A side as a product of two numbers: `factor` and the rest where it divides the side, else the smaller first, as near to each other as `factor` allows. */
export function factorsOf(side: number, factor: number): readonly [number, number] {
  if (factor > 0 && side % factor === 0) return [factor, side / factor];
  const most = factor === -1 ? side : factor;
  let best: readonly [number, number] = [1, side];
  for (let m = 2; m * m <= side && m <= most; m++) if (side % m === 0) best = [m, side / m];
  return best;
}

/** Sides of the factors: out = a·b, in = c·d. */
function sidesOf(
  site: Site,
  { decomposeFactor }: Layout,
): { readonly a: number; readonly b: number; readonly c: number; readonly d: number } {
  const { in: width, out } = sizesOf(site);
  const [[a, b], [c, d]] = [factorsOf(out, decomposeFactor), factorsOf(width, decomposeFactor)];
  return { a, b, c, d };
}

function shapesAt(site: Site, r: number, layout: Layout): PartShapes {
  const { kernel } = sizesOf(site);
  const { a, b, c, d } = sidesOf(site, layout);
  const area = kernel.reduce((n, k) => n * k, 1);
  const first: PartShapes = layout.decomposeBoth && r < Math.max(a, c) / 2 ? { lokr_w1_a: [a, r], lokr_w1_b: [r, c] } : { lokr_w1: [a, c] };
  if (r >= Math.max(b, d) / 2) return { ...first, lokr_w2: [b, d, ...kernel] };
  if (layout.useEffectiveConv2d && area > 1) return { ...first, lokr_t2: [r, r, ...kernel], lokr_w2_a: [r, b], lokr_w2_b: [r, d] };
  return { ...first, lokr_w2_a: [b, r], lokr_w2_b: [r, d * area] };
}

/** w1 f32[a, c] and w2 f32[b, d · kernel], whatever they are made of. */
function factorsAt({ path }: Site, t: ParamTree): readonly [Tensor, Tensor] {
  const of = (part: string): Tensor | undefined => t[`${path}.${part}`];
  const [w1, w2, core] = [of("lokr_w1"), of("lokr_w2"), of("lokr_t2")];
  const first = w1 ?? matmul(of("lokr_w1_a")!, of("lokr_w1_b")!);
  if (w2) return [first, reshape(w2, [w2.dim(0), -1])];
  const [a, b] = [of("lokr_w2_a")!, of("lokr_w2_b")!];
  return [first, core ? kernels(core, a, b) : matmul(a, b)];
}

/** ΔW f32[out, fan-in]. */
function kronecker(site: Site, t: ParamTree, c: Config): Tensor {
  const [w1, w2] = factorsAt(site, t);
  const s = sidesOf(site, c);
  const area = sizesOf(site).kernel.reduce((n, k) => n * k, 1);
  const product = mul(reshape(w1, [s.a, 1, s.c, 1, 1]), reshape(w2, [1, s.b, 1, s.d, area]));
  return mul(reshape(product, [s.a * s.b, s.c * s.d * area]), scaleAt(layerRanks(c), site));
}

const hasAdapter = (t: ParamTree, site: Site): boolean => FIRST.some((part) => `${site.path}.${part}` in t);

function lokrHooks(t: ParamTree, c: Config): readonly Hook[] {
  const ranks = layerRanks(c);
  return [
    {
      matches: (site) => site.weight !== undefined && hasAdapter(t, site),
      output: (y, x, site, context) => {
        const [w1, w2] = factorsAt(site, t);
        const s = sidesOf(site, c);
        const columns = linear(reshape(x, [...x.shape.slice(0, -1), s.c, s.d]), mul(w2, scaleAt(ranks, site)), undefined);
        const turn = (z: Tensor): Tensor => transpose(z, [...Array.from({ length: z.rank - 2 }, (_, i) => i), z.rank - 1, z.rank - 2]);
        const change = reshape(turn(linear(turn(columns), w1, undefined)), y.shape);
        const kept = keptAt(c, s.a * s.b, context, c.rankDropoutScale);
        return add(y, kept ? mul(change, kept) : change);
      },
    },
    {
      matches: (site) => site.conv !== undefined && hasAdapter(t, site),
      weight: (w, site, context) => {
        const kept = keptAt(c, sizesOf(site).out, context, c.rankDropoutScale);
        const change = kronecker(site, t, c);
        return add(w, laidOut(site, kept ? mul(change, expandDims(kept, 1)) : change));
      },
    },
  ];
}

const peft: PeftForm<Config> = {
  type: "LOKR",
  refusal: (delta, model) => inOutRefusal(Object.keys(delta.tensors), model),
  write: (c, own, model, stored) => ({
    options: {
      ...lycorisOptions(c, own, FIRST, model, stored),
      decompose_both: c.decomposeBoth,
      decompose_factor: c.decomposeFactor,
      rank_dropout_scale: c.rankDropoutScale,
      init_weights: c.initWeights === "default" ? true : c.initWeights,
    },
    tensors: own,
  }),
  read: (adapter, model) => {
    const { config: given } = adapter;
    const more = given.peft_type === "LOKR" ? given : undefined;
    const layout = {
      decomposeBoth: more?.decompose_both === true,
      decomposeFactor: more?.decompose_factor ?? -1,
      useEffectiveConv2d: more?.use_effective_conv2d === true,
    };
    const found = readLycoris(adapter, model, PARTS, ["decompose_both", "decompose_factor", "rank_dropout_scale"], (site, r) =>
      shapesAt(site, r, layout),
    );
    const initWeights = given.init_weights === "lycoris" ? ("lycoris" as const) : ("default" as const);
    return { ...found, config: { ...found.config, ...layout, rankDropoutScale: more?.rank_dropout_scale === true, initWeights } };
  },
};

export const lokr = defineTuning({
  id: "lokr",
  summary: "Learns updates that are Kronecker products of two small matrices.",
  paper: {
    title: "Navigating Text-To-Image Customization: From LyCORIS Fine-Tuning to Model Evaluation",
    arxiv: "2309.14859",
    year: 2023,
    survey: "3.1 weight engineering",
  },
  config,
  delta: {
    hooks: (c, t) => lokrHooks(t, c),
    weights: (c, t) => [{ matches: (site) => hasAdapter(t, site), weight: (w, site) => add(w, laidOut(site, kronecker(site, t, c))) }],
  },
  peft,
  training: (c) => c,
  start: ({ model }, c, { rng }) => {
    const ranks = layerRanks(c);
    const still = c.initWeights === "default" ? FIRST : ["lokr_w2", "lokr_w2_b"];
    const learned: Record<string, HostTensor> = {};
    for (const site of chosenSites(model, c, ["convolutions"])) {
      const own = rng.split("init").split(site.path);
      for (const [part, shape] of Object.entries(shapesAt(site, ranks.rank(site.path), c)))
        learned[`${site.path}.${part}`] = still.includes(part) ? zeros(shape) : kaimingUniform(own.split(part), shape);
    }
    return { learned };
  },
});
