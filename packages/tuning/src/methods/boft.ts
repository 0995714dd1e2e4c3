/**
 * BOFT (arXiv 2311.06243): y = s ∘ W(Rx), R a product of butterfly factors: blocks on the diagonal, each factor's over inputs that are farther apart,
 * so that few parameters rotate every input with every other. A block is the Cayley transform of the skew-symmetric part of f32[n, n], from 0;
 * s f32[out, 1] scales outputs, from 1. With one factor this is OFT with exact rotations and s.
 */
import {
  add,
  cayley,
  constant,
  gather,
  type HostTensor,
  i32,
  LfmError,
  mul,
  type ParamTree,
  reshape,
  type Site,
  slice,
  sub,
  type Tensor,
  zeros,
} from "@lfm/core";
import { refuseOtherOptions } from "@lfm/formats";
import { z } from "zod";
import { defineTuning } from "../define-tuning.js";
import { filled, inOutRefusal } from "../layer-change.js";
import { expectShapes, layerOptions, type PeftForm, siteTensors } from "../peft-form.js";
import { overRows, requireOneOf, rotated, someStill } from "../rotation.js";
import { chosenSites, targetFields } from "../target-sites.js";
import { trainingFields } from "../training-options.js";

const config = z.strictObject({
  boftBlockSize: z.number().int().min(0).default(4).describe("size n of a block; it divides the inputs of every layer"),
  boftBlockNum: z.number().int().min(0).default(0).describe("blocks of a layer, instead of boftBlockSize"),
  boftNButterflyFactor: z
    .number()
    .int()
    .positive()
    .default(1)
    .describe("butterfly factors; PEFT has more than one on NVIDIA's cards alone"),
  boftDropout: z.number().min(0).max(0.99).default(0).describe("share of a factor's blocks that do not rotate in a step"),
  ...targetFields,
  ...trainingFields(1e-2),
});
type Config = z.output<typeof config>;
type Sizes = Pick<Config, "boftBlockSize" | "boftBlockNum" | "boftNButterflyFactor">;

const [R, S] = ["boft_R", "boft_s"] as const;

/** @throws {LfmError} CONFIG_INVALID for blocks that do not fit the layer */
function blocksOf({ path, weight }: Site, c: Sizes): { readonly size: number; readonly count: number } {
  const inputs = weight!.in;
  const [size, count] = c.boftBlockNum === 0 ? [c.boftBlockSize, inputs / c.boftBlockSize] : [inputs / c.boftBlockNum, c.boftBlockNum];
  const fail = (what: string, hint: string): LfmError =>
    new LfmError("CONFIG_INVALID", `[@lfm/tuning] boft: the ${inputs} inputs of "${path}" ${what}`, { hint });
  if (!Number.isInteger(size) || !Number.isInteger(count))
    throw fail(
      `cannot be divided into ${c.boftBlockNum === 0 ? `blocks of ${size}` : `${count} blocks`}`,
      "take another size, or leave the layer out with excludeModules",
    );
  const apart = 2 ** (c.boftNButterflyFactor - 1);
  if (c.boftNButterflyFactor > 1 && (size % 2 !== 0 || count % apart !== 0))
    throw fail(
      `in ${count} blocks of ${size} have no ${c.boftNButterflyFactor} butterfly factors`,
      "they need blocks of even size, and 2^(factors − 1) divides their number",
    );
  return { size, count };
}

const shapesAt = (site: Site, c: Sizes): Record<typeof R | typeof S, readonly number[]> => {
  const { size, count } = blocksOf(site, c);
  return { boft_R: [c.boftNButterflyFactor, count, size, size], boft_s: [site.weight!.out, 1] };
};

/** Which input stands in each place before the blocks of factor i: within 2ⁱ blocks, half-blocks of even places first, then those of odd ones. */
export function butterfly(inputs: number, size: number, i: number, factors: number): readonly number[] {
  const places = Array.from({ length: inputs }, (_, k) => k);
  if (factors === 1) return places;
  const [half, span] = [size / 2, size * 2 ** i];
  const parts = span / half;
  const order = [...Array.from({ length: parts / 2 }, (_, k) => 2 * k), ...Array.from({ length: parts / 2 }, (_, k) => 2 * k + 1)];
  return places.map((k) => {
    const within = k % span;
    return k - within + order[Math.floor(within / half)]! * half + (within % half);
  });
}

const inverseOf = (order: readonly number[]): number[] => {
  const places = new Array<number>(order.length);
  for (const [i, k] of order.entries()) places[k] = i;
  return places;
};

/** x·R over the last axis, or x·Rᵀ. @param blocks of each factor, the one that is nearest to the weight first */
function turned(x: Tensor, site: Site, blocks: readonly Tensor[], c: Sizes, inverse = false): Tensor {
  const { size } = blocksOf(site, c);
  const factors = [...blocks.entries()];
  return (inverse ? factors : factors.reverse()).reduce((y, [i, own]) => {
    const order = butterfly(site.weight!.in, size, i, blocks.length);
    if (blocks.length === 1) return rotated(y, own, inverse);
    const placed = (z: Tensor, places: readonly number[]): Tensor => gather(z, constant(i32([...places])), z.rank - 1, { distinct: true });
    return placed(rotated(placed(y, inverseOf(order)), own, inverse), order);
  }, x);
}

function rotations(site: Site, t: ParamTree): readonly Tensor[] {
  const all = cayley(t[`${site.path}.${R}`]!);
  const [factors, ...block] = all.shape;
  return Array.from({ length: factors as number }, (_, i) => reshape(slice(all, 0, i, 1), block));
}

const hasRotation = (t: ParamTree, site: Site): boolean => `${site.path}.${R}` in t;

const peft: PeftForm<Config> = {
  type: "BOFT",
  refusal: (delta, model) => inOutRefusal(Object.keys(delta.tensors), model),
  write: (c, own, model) => ({
    options: {
      boft_block_size: c.boftBlockSize,
      boft_block_num: c.boftBlockNum,
      boft_n_butterfly_factor: c.boftNButterflyFactor,
      boft_dropout: c.boftDropout,
      ...layerOptions(own, R, model),
    },
    tensors: own,
  }),
  read: (adapter, model) => {
    const { config: given } = adapter;
    if (given.peft_type !== "BOFT") throw new LfmError("INTERNAL", `[@lfm/tuning] boft reads no ${given.peft_type}`);
    refuseOtherOptions(given, ["boft_block_size", "boft_block_num", "boft_n_butterfly_factor", "boft_dropout"]);
    const found = siteTensors(adapter, model, [R, S]);
    // Where PEFT has no kernel for several factors it takes one, whatever the option says: the tensors tell.
    const factors = found.tensors[`${found.sites[0]!.path}.${R}`]?.shape[0] ?? given.boft_n_butterfly_factor;
    const sizes = { boftBlockSize: given.boft_block_size, boftBlockNum: given.boft_block_num, boftNButterflyFactor: Math.max(1, factors) };
    requireOneOf("boft", { boftBlockSize: sizes.boftBlockSize, boftBlockNum: sizes.boftBlockNum });
    for (const site of found.sites) expectShapes(found.tensors, site.path, shapesAt(site, sizes));
    const options = { ...sizes, boftDropout: Math.min(0.99, given.boft_dropout), targetModules: found.sites.map((site) => site.path) };
    return { config: options, tensors: found.tensors, parameters: found.parameters };
  },
};

export const boft = defineTuning({
  id: "boft",
  summary: "Learns rotations of the layers' inputs by butterfly factors, and scales of their outputs.",
  paper: {
    title: "Parameter-Efficient Orthogonal Finetuning via Butterfly Factorization",
    arxiv: "2311.06243",
    year: 2023,
    survey: "3.1 weight engineering",
  },
  config,
  delta: {
    hooks: (c, t) => [
      {
        matches: (site) => hasRotation(t, site),
        input: (x, site, context) => {
          const still = rotations(site, t).map((blocks, i) => someStill(blocks, c.boftDropout, context, `factor ${i}`));
          return turned(x, site, still, c);
        },
        output: (y, _x, site, { bias }) => {
          const scale = reshape(t[`${site.path}.${S}`]!, [site.weight!.out]);
          return bias ? add(mul(sub(y, bias), scale), bias) : mul(y, scale);
        },
      },
    ],
    weights: (c, t) => [
      {
        matches: (site) => hasRotation(t, site),
        weight: (w, site) => overRows(w, site, (rows) => mul(turned(rows, site, rotations(site, t), c, true), t[`${site.path}.${S}`]!)),
      },
    ],
  },
  peft,
  training: (c) => c,
  start: ({ model }, c) => {
    requireOneOf("boft", { boftBlockSize: c.boftBlockSize, boftBlockNum: c.boftBlockNum });
    const learned = chosenSites(model, c).flatMap((site): readonly (readonly [string, HostTensor])[] => {
      const shapes = shapesAt(site, c);
      return [
        [`${site.path}.${R}`, zeros(shapes.boft_R)],
        [`${site.path}.${S}`, filled(shapes.boft_s, 1)],
      ];
    });
    return { learned: Object.fromEntries(learned) };
  },
});
