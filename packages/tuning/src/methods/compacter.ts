/**
 * Compacter (arXiv 2106.04647): bottleneck adapters whose projections are sums of Kronecker products, W = Σ_i A_i ⊗ (s_i·t_iᵀ), y = x·W + b. The n
 * matrices A_i, f32[n, n] each, are shared by all layers (the rule); s_i — f32[in/n, rank], t_iᵀ — f32[rank, out/n]. The paper's Compacter stands
 * behind attention and MLP, Compacter++ behind the MLP alone. A rule near zero makes a fresh adapter change next to nothing.
 */
import { add, f32, LfmError, matmul, type ParamTree, type Rng, reshape, type Site, sizeOf, type Tensor, transpose } from "@lfm/core";
import { z } from "zod";
import { adapterTensor, bottleneckFields, bottleneckHook, bottleneckWidth, startAdapters } from "../bottleneck-sites.js";
import { defineTuning } from "../define-tuning.js";
import { trainingFields } from "../training-options.js";

const config = z.strictObject({
  ...bottleneckFields,
  reductionFactor: bottleneckFields.reductionFactor.unwrap().default(32).describe("hidden size divided by the bottleneck's width"),
  activation: bottleneckFields.activation.unwrap().default("gelu").describe("φ"),
  phmDim: z.number().int().positive().default(4).describe("n: matrices of the rule, and their size"),
  phmRank: z.number().int().positive().default(1).describe("rank of what each of them is multiplied with"),
  phmInitRange: z.number().positive().default(1e-4).describe("standard deviation of the rule at the start"),
  ...trainingFields(3e-3),
});
type Config = z.output<typeof config>;

/** Name of the rule, f32[n, n, n]. */
export const PHM_RULE = "adapter.phm_rule";

/** The sum of Kronecker products, f32[in, out]. rule — f32[n, n, n], left — f32[n, in/n, rank], right — f32[n, rank, out/n]. */
function phmWeight(rule: Tensor, left: Tensor, right: Tensor): Tensor {
  const [n, rows] = [rule.dim(0) as number, left.dim(1) as number];
  const columns = right.dim(2) as number;
  const factors = reshape(matmul(left, right), [n, rows * columns]);
  // Σ_i A_i[a, b]·F_i[p, q] by one product over i, then from (a, b, p, q) to (a, p, b, q).
  const summed = matmul(reshape(rule, [n, n * n]), factors, { transA: true });
  return reshape(transpose(reshape(summed, [n, n, rows, columns]), [0, 2, 1, 3]), [n * rows, n * columns]);
}

export const compacter = defineTuning({
  id: "compacter",
  summary: "Bottleneck adapters of Kronecker products whose small factors all layers share; the base stays frozen.",
  paper: {
    title: "Compacter: Efficient Low-Rank Hypercomplex Adapter Layers",
    arxiv: "2106.04647",
    year: 2021,
    survey: "3.1 weight engineering",
  },
  config,
  presets: {
    "compacter-plus-plus": { summary: "Compacter++: behind the MLP and its norm only", config: { places: ["mlp"], reads: "sum" } },
  },
  delta: {
    hooks: (c, t) => {
      const layer = (name: "down" | "up") => (x: Tensor, site: Site) => {
        const own = (part: string): Tensor => t[adapterTensor(site, `${name}.${part}`)]!;
        return add(matmul(x, phmWeight(t[PHM_RULE]!, own("W_left"), own("W_right"))), own("b"));
      };
      return [bottleneckHook(c, t, hasFactors(t), { down: layer("down"), up: layer("up") })];
    },
  },
  training: (c) => c,
  start: ({ model }, c, { rng }) => {
    requireDivisible(model.info.hiddenSize, bottleneckWidth(model.info.hiddenSize, c), c);
    const n = c.phmDim;
    return {
      learned: {
        [PHM_RULE]: f32(rng.split("rule").normalArray(n ** 3, c.phmInitRange), [n, n, n]),
        ...startAdapters(model, c, rng, (own, _name, shape) => glorot(own, shape), c),
      },
    };
  },
});

function hasFactors(t: ParamTree): (site: Site) => boolean {
  return (site) => adapterTensor(site, "down.W_left") in t;
}

/** Normal of variance 2 / (rows + columns) of each matrix. */
function glorot(rng: Rng, shape: readonly number[]): Float32Array {
  const [, rows, columns] = shape;
  return rng.normalArray(sizeOf(shape), Math.sqrt(2 / (rows! + columns!)));
}

/** @throws {LfmError} CONFIG_INVALID */
function requireDivisible(hidden: number, width: number, { phmDim: n }: Config): void {
  if (hidden % n === 0 && width % n === 0) return;
  throw new LfmError(
    "CONFIG_INVALID",
    `[@lfm/tuning] compacter: hidden size ${hidden} and bottleneck ${width} must both be multiples of phmDim ${n}`,
    {
      hint: `--reduction-factor ${Math.max(1, Math.floor(hidden / (n * Math.max(1, Math.round(width / n)))))}, or another --phm-dim`,
    },
  );
}
