/**
 * Where bottleneck adapters stand and how they are joined to a block, as the library `adapters` has it: h is what a part of the block gives, r the
 * stream that it is added to, N the block's normalisation of that sum (post-norm blocks) or nothing. Options are that library's under plainer names.
 */
import {
  add,
  dropoutAt,
  f32,
  type Hook,
  type HookContext,
  type HostTensor,
  LfmError,
  layerNorm,
  type Model,
  mul,
  type ParamTree,
  type Rng,
  type Site,
  sizeOf,
  sub,
  type Tensor,
} from "@lfm/core";
import { activation, activationName } from "@lfm/models";
import { z } from "zod";

/** Options of every method whose adapters stand behind parts of blocks. */
export const bottleneckFields = {
  reductionFactor: z.number().positive().default(16).describe("hidden size divided by the bottleneck's width"),
  places: z
    .array(z.enum(["attention", "cross-attention", "mlp"]))
    .min(1)
    .default(["attention", "mlp"])
    .describe("behind which parts of a block an adapter stands"),
  leaveOut: z.array(z.number().int().nonnegative()).default([]).describe("numbers of blocks without adapters"),
  activation: activationName.default("swish").describe("φ; silu is the authors' swish"),
  reads: z
    .enum(["part", "sum", "stream"])
    .default("part")
    .describe(
      "what an adapter reads: what the part gives, the block's sum behind its norm, or, parallel to the part, what the part is added to",
    ),
  residual: z
    .enum(["part", "sum", "normed"])
    .default("part")
    .describe("what its answer is added to: what the part gives, the block's sum, or that sum behind its norm"),
  blockResidual: z.boolean().default(true).describe("the block's own sum and norm follow; off, the result takes their place"),
  scaling: z.number().default(1).describe("what the answer is multiplied with"),
  learnedScaling: z
    .enum(["none", "scalar", "channel"])
    .default("none")
    .describe("learn what the answer is multiplied with, instead, from 1 on"),
  lnBefore: z.boolean().default(false).describe("a layer norm of its own in front of the bottleneck"),
  lnAfter: z.boolean().default(false).describe("a layer norm of its own behind the bottleneck"),
  residualBeforeLn: z.boolean().default(false).describe("with lnAfter: the sum stands in front of that norm"),
  adapterDropout: z.number().min(0).max(0.99).default(0).describe("dropout probability of the adapter's answer"),
} as const;
const fields = z.strictObject(bottleneckFields);
export type BottleneckPlacement = z.output<typeof fields>;

/** A hook of one adapter at every site that it has, opened for what fuses several. */
export interface BottleneckHook extends Hook {
  readonly placement: BottleneckPlacement;
  /** What an adapter reads, of part h, stream r: f32[…, hidden] all. */
  read(h: Tensor, r: Tensor, context: HookContext): Tensor;
  /** What it answers, scaled, before its dropout and sum. */
  answer(read: Tensor, site: Site): Tensor;
}

export function isBottleneckHook(hook: Hook): hook is BottleneckHook {
  return "placement" in hook && "answer" in hook;
}

/** Name of a tensor of the adapter behind a part: those of its residual site, by the part's path. */
export function adapterTensor(site: Pick<Site, "path">, name: string): string {
  return `${partPath(site)}.adapter.${name}`;
}

/** Path of the part whose result goes into a residual site. */
export function partPath({ path }: Pick<Site, "path">): string {
  return path.replace(/\.residual$/, "");
}

/** The residual sites of a model that get an adapter. @throws {LfmError} CAPABILITY_MISSING, CONFIG_INVALID for a model without such places */
export function bottleneckSites(
  model: Pick<Model, "info">,
  c: Pick<BottleneckPlacement, "places" | "leaveOut" | "blockResidual">,
): readonly Site[] {
  const { architecture, sites } = model.info;
  const residual = sites.filter((s) => s.kind === "residual");
  if (residual.length === 0)
    throw new LfmError(
      "CAPABILITY_MISSING",
      `[@lfm/tuning] ${architecture} has no blocks of attention and MLP that adapters could stand in`,
      {
        hint: "lora, full and the methods that change weights have places there",
      },
    );
  const there = new Set(residual.map((s) => s.behind));
  const missing = c.places.find((place) => !there.has(place));
  if (missing)
    throw new LfmError("CONFIG_INVALID", `[@lfm/tuning] blocks of ${architecture} have no ${missing}`, {
      hint: `--places ${[...there].join(",")}`,
    });
  return residual.filter((s) => c.places.some((place) => place === s.behind) && !c.leaveOut.includes(s.layer!));
}

/** Width of the bottleneck, at least 1. */
export function bottleneckWidth(hiddenSize: number, { reductionFactor }: Pick<BottleneckPlacement, "reductionFactor">): number {
  return Math.max(1, Math.floor(hiddenSize / reductionFactor));
}

/** The two projections of an adapter. down: f32[…, hidden] → f32[…, width]; up: the other way. */
export interface Projections {
  down(x: Tensor, site: Site): Tensor;
  up(x: Tensor, site: Site): Tensor;
}

/** Adapters at every residual site for which `has` tensors. */
export function bottleneckHook(
  c: BottleneckPlacement,
  t: ParamTree,
  has: (site: Site) => boolean,
  projections: Projections,
): BottleneckHook {
  const phi = activation(c.activation);
  const norm = (x: Tensor, site: Site, name: "norm_before" | "norm_after"): Tensor =>
    layerNorm(x, t[adapterTensor(site, `${name}.weight`)]!, t[adapterTensor(site, `${name}.bias`)]!, 1e-5);
  const hook = {
    placement: c,
    matches: (site: Site) => site.kind === "residual" && has(site),
    read: (h: Tensor, r: Tensor, context: HookContext) =>
      c.reads === "stream" ? r : c.reads === "part" ? h : (context.norm ?? same)(add(h, r)),
    answer: (read: Tensor, site: Site) => {
      const low = phi(projections.down(c.lnBefore ? norm(read, site, "norm_before") : read, site));
      const up = projections.up(low, site);
      if (c.learnedScaling !== "none") return mul(up, t[adapterTensor(site, "scaling")]!);
      return c.scaling === 1 ? up : mul(up, c.scaling);
    },
  };
  return {
    ...hook,
    output: (h, r, site, context) => {
      const answer = dropoutAt(hook.answer(hook.read(h, r, context), site), c.adapterDropout, context);
      const to = residualOf(c, h, r, context);
      const joined = c.lnAfter
        ? c.residualBeforeLn && c.reads !== "stream"
          ? norm(add(answer, to), site, "norm_after")
          : add(norm(answer, site, "norm_after"), to)
        : add(answer, to);
      return behindBlock(c, joined, r, context);
    },
  };
}

/** What the answer of an adapter is added to. */
export function residualOf(c: BottleneckPlacement, h: Tensor, r: Tensor, context: HookContext): Tensor {
  if (c.residual === "part" || c.reads === "stream") return h;
  const sum = add(h, r);
  return c.residual === "normed" && context.norm ? context.norm(sum) : sum;
}

/** Without the block's own residual, it is taken off again where the block adds it. @throws {LfmError} CAPABILITY_MISSING */
export function behindBlock(c: BottleneckPlacement, joined: Tensor, r: Tensor, context: HookContext): Tensor {
  if (c.blockResidual) return joined;
  if (context.norm)
    throw new LfmError("CAPABILITY_MISSING", "[@lfm/tuning] blocks that normalise their sum cannot go without it", {
      hint: "leave blockResidual on",
    });
  return sub(joined, r);
}

/** Sizes of Kronecker products in the place of projections. */
export interface PhmSizes {
  /** Matrices of the rule, and their size. */
  readonly phmDim: number;
  readonly phmRank: number;
}

/** The tensors of one adapter, by the name behind its place, and their shapes. @param phm of Compacter */
export function adapterShapes(c: BottleneckPlacement, hidden: number, phm?: PhmSizes): Readonly<Record<string, readonly number[]>> {
  const width = bottleneckWidth(hidden, c);
  const projection = (name: string, from: number, to: number): Record<string, readonly number[]> =>
    phm
      ? {
          [`${name}.W_left`]: [phm.phmDim, from / phm.phmDim, phm.phmRank],
          [`${name}.W_right`]: [phm.phmDim, phm.phmRank, to / phm.phmDim],
          [`${name}.b`]: [to],
        }
      : { [`${name}.weight`]: [to, from], [`${name}.bias`]: [to] };
  const norm = (name: string): Record<string, readonly number[]> => ({ [`${name}.weight`]: [hidden], [`${name}.bias`]: [hidden] });
  return {
    ...projection("down", hidden, width),
    ...projection("up", width, hidden),
    ...(c.learnedScaling === "none" ? {} : { scaling: [c.learnedScaling === "scalar" ? 1 : hidden] }),
    ...(c.lnBefore ? norm("norm_before") : {}),
    ...(c.lnAfter ? norm("norm_after") : {}),
  };
}

/**
 * Fresh tensors of an adapter at every place: scales and weights of norms begin at 1, biases at 0, the rest as `draw` says.
 * @param draw values of a weight, by its name behind the adapter's place
 */
export function startAdapters(
  model: Model,
  c: BottleneckPlacement,
  rng: Rng,
  draw: (rng: Rng, name: string, shape: readonly number[]) => Float32Array,
  phm?: PhmSizes,
): Record<string, HostTensor> {
  const learned: Record<string, HostTensor> = {};
  for (const site of bottleneckSites(model, c)) {
    const own = rng.split(site.path);
    for (const [name, shape] of Object.entries(adapterShapes(c, model.info.hiddenSize, phm))) {
      const constant = /^(scaling|norm_\w+\.weight)$/.test(name) ? 1 : /(\.bias|\.b)$/.test(name) ? 0 : undefined;
      const values = constant === undefined ? draw(own, name, shape) : new Float32Array(sizeOf(shape)).fill(constant);
      learned[adapterTensor(site, name)] = f32(values, shape);
    }
  }
  return learned;
}

const same = (x: Tensor): Tensor => x;
