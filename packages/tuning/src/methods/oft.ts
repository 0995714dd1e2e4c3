/**
 * OFT (arXiv 2306.07280, as in arXiv 2506.19847): y = W(Rx), R a block-diagonal rotation of the inputs, so that angles between neurons stay. Each
 * block is the Cayley transform (I − Q)(I + Q)⁻¹ of a skew-symmetric Q, whose upper triangle f32[blocks, n(n − 1)/2] learns from 0; or, as PEFT by
 * default, I + 2Q + 2Q² + … + Qᵏ, the start of the Neumann series of the rotation by −Q, which takes no inverse and is only nearly a rotation. `coft` keeps ‖Q‖ small.
 */
import {
  add,
  cayley,
  concat,
  constant,
  div,
  expandDims,
  f32,
  full,
  gather,
  greater,
  type Hook,
  type HookContext,
  type HostTensor,
  i32,
  LfmError,
  matmul,
  maximum,
  mul,
  neg,
  type ParamTree,
  reshape,
  type Site,
  sqrt,
  square,
  stopGradient,
  sub,
  sum,
  type Tensor,
  where,
  zeros,
} from "@lfm/core";
import { refuseOtherOptions } from "@lfm/formats";
import { z } from "zod";
import { defineTuning } from "../define-tuning.js";
import { inOutRefusal } from "../layer-change.js";
import { expectShapes, layerOptions, type PeftForm, siteTensors } from "../peft-form.js";
import { identity, overRows, requireOneOf, rotated, someStill } from "../rotation.js";
import { chosenSites, targetFields } from "../target-sites.js";
import { trainingFields } from "../training-options.js";

const config = z.strictObject({
  r: z.number().int().min(0).default(0).describe("blocks of a layer, instead of oftBlockSize; 0: as many as its size gives"),
  oftBlockSize: z
    .number()
    .int()
    .min(0)
    .default(32)
    .describe("size n of a block; where it does not divide the inputs, the nearest that does"),
  moduleDropout: z.number().min(0).max(0.99).default(0).describe("share of the blocks that do not rotate in a step"),
  coft: z.boolean().default(false).describe("keep ‖Q‖ of each block below eps/√blocks (COFT)"),
  eps: z.number().positive().default(6e-5).describe("with coft: how far blocks may rotate"),
  blockShare: z.boolean().default(false).describe("one rotation for all blocks of a layer"),
  useCayleyNeumann: z.boolean().default(true).describe("the Neumann series instead of the exact Cayley transform"),
  numCayleyNeumannTerms: z.number().int().positive().default(5).describe("terms of the series"),
  ...targetFields,
  ...trainingFields(1e-3),
});
type Config = z.output<typeof config>;

const PART = "oft_R.weight";

/** Size of a block: of the sizes that divide the inputs the nearest, the smaller one of two. */
function nearestDivisor(inputs: number, wanted: number): number {
  if (wanted >= inputs) return inputs;
  let [higher, lower] = [wanted, wanted];
  while (inputs % higher !== 0) higher++;
  while (inputs % lower !== 0) lower--;
  return wanted - lower <= higher - wanted ? lower : higher;
}

/** @throws {LfmError} CONFIG_INVALID for blocks of one input, which cannot rotate */
function blocksOf(
  { path, weight }: Site,
  c: Pick<Config, "r" | "oftBlockSize" | "blockShare">,
): { readonly size: number; readonly rows: number } {
  const inputs = weight!.in;
  const size = c.r === 0 ? nearestDivisor(inputs, c.oftBlockSize) : inputs / nearestDivisor(inputs, c.r);
  if (size < 2)
    throw new LfmError("CONFIG_INVALID", `[@lfm/tuning] oft: "${path}" has blocks of one of its ${inputs} inputs, which cannot rotate`, {
      hint: "take larger blocks, or leave the layer out with excludeModules",
    });
  return { size, rows: c.blockShare ? 1 : inputs / size };
}

const shapeAt = (site: Site, c: Config): readonly number[] => {
  const { size, rows } = blocksOf(site, c);
  return [rows, (size * (size - 1)) / 2];
};

/** f32[rows, n, n] with f32[rows, n(n − 1)/2] above the diagonal, its negative below. */
function skew(upper: Tensor, n: number): Tensor {
  const rows = upper.dim(0);
  const count = (n * (n - 1)) / 2;
  const place = (i: number, j: number): number => i * n - (i * (i + 1)) / 2 + j - i - 1;
  const places = Array.from({ length: n * n }, (_, k) => {
    const [i, j] = [Math.floor(k / n), k % n];
    return i === j ? 2 * count : i < j ? place(i, j) : count + place(j, i);
  });
  return reshape(gather(concat([upper, neg(upper), full([rows, 1], 0)], 1), constant(i32(places)), 1), [rows, n, n]);
}

/** I + 2Q + 2Q² + … + 2Qᵏ⁻² + Qᵏ⁻¹ with k terms, as PEFT sums it: with three it has a cubic one, too. */
function neumann(q: Tensor, terms: number): Tensor {
  const one = identity(q.dim(-1) as number);
  if (terms === 1) return add(mul(q, 0), one);
  let [r, power] = [add(one, mul(q, 2)), q];
  if (terms === 2) return r;
  for (let k = 2; k === 2 || k < terms - 1; k++) {
    power = matmul(power, q);
    r = add(r, mul(power, 2));
  }
  return add(r, matmul(power, q));
}

/** Rows whose Q is longer than eps/√rows, shortened to it; ‖Q‖² is twice the sum over its upper half. */
function shortened(upper: Tensor, eps: number): Tensor {
  const longest = eps / Math.sqrt(upper.dim(0) as number);
  const norm = expandDims(sqrt(mul(sum(square(upper), 1), 2)), 1);
  return where(greater(norm, longest), mul(upper, div(longest, maximum(norm, longest))), upper);
}

/** The same of values. */
function shortenedValues(upper: HostTensor, eps: number): HostTensor {
  const [rows, columns] = upper.shape as readonly [number, number];
  const longest = eps / Math.sqrt(rows);
  const data = Float32Array.from(upper.data, Number);
  for (let i = 0; i < rows; i++) {
    const row = data.subarray(i * columns, (i + 1) * columns);
    const norm = Math.sqrt(2 * row.reduce((s, v) => s + v * v, 0));
    if (norm > longest) for (let k = 0; k < columns; k++) row[k] = (row[k]! * longest) / norm;
  }
  return f32(data, upper.shape);
}

function rotationAt(site: Site, t: ParamTree, c: Config, context: HookContext): Tensor {
  const given = t[`${site.path}.${PART}`]!;
  const upper = c.coft ? add(given, stopGradient(sub(shortened(given, c.eps), given))) : given;
  const q = skew(upper, blocksOf(site, c).size);
  const blocks = c.useCayleyNeumann ? neumann(q, c.numCayleyNeumannTerms) : cayley(q);
  return someStill(blocks, c.moduleDropout, context);
}

const hasRotation = (t: ParamTree, site: Site): boolean => `${site.path}.${PART}` in t;

const peft: PeftForm<Config> = {
  type: "OFT",
  refusal: (delta, model) => inOutRefusal(Object.keys(delta.tensors), model),
  write: (c, own, model) => ({
    options: {
      r: c.r,
      oft_block_size: c.oftBlockSize,
      module_dropout: c.moduleDropout,
      coft: c.coft,
      eps: c.eps,
      block_share: c.blockShare,
      use_cayley_neumann: c.useCayleyNeumann,
      num_cayley_neumann_terms: c.numCayleyNeumannTerms,
      ...layerOptions(own, PART, model),
    },
    tensors: own,
  }),
  read: (adapter, model) => {
    const { config: given } = adapter;
    if (given.peft_type !== "OFT") throw new LfmError("INTERNAL", `[@lfm/tuning] oft reads no ${given.peft_type}`);
    refuseOtherOptions(given, [
      ...["r", "oft_block_size", "module_dropout", "coft", "eps", "block_share", "use_cayley_neumann", "num_cayley_neumann_terms"],
    ]);
    const found = siteTensors(adapter, model, [PART]);
    const options = {
      r: given.r,
      oftBlockSize: given.oft_block_size,
      moduleDropout: Math.min(0.99, given.module_dropout),
      coft: given.coft,
      eps: given.eps,
      blockShare: given.block_share,
      useCayleyNeumann: given.use_cayley_neumann,
      numCayleyNeumannTerms: given.num_cayley_neumann_terms,
      targetModules: found.sites.map((site) => site.path),
    };
    const parsed = config.parse(options);
    requireOneOf("oft", { r: parsed.r, oftBlockSize: parsed.oftBlockSize });
    for (const site of found.sites) expectShapes(found.tensors, site.path, { [PART]: shapeAt(site, parsed) });
    return { config: options, tensors: found.tensors, parameters: found.parameters };
  },
};

export const oft = defineTuning({
  id: "oft",
  summary: "Learns rotations of the layers' inputs: angles between neurons stay.",
  paper: {
    title: "Controlling Text-to-Image Diffusion by Orthogonal Finetuning",
    arxiv: "2306.07280",
    year: 2023,
    survey: "3.1 weight engineering",
  },
  config,
  presets: {
    exact: { summary: "rotations exactly, by an inverse", config: { useCayleyNeumann: false } },
    coft: { summary: "rotations that stay small (COFT)", config: { coft: true, useCayleyNeumann: false } },
  },
  delta: {
    hooks: (c, t) => [
      { matches: (site) => hasRotation(t, site), input: (x, site, context) => rotated(x, rotationAt(site, t, c, context)) } satisfies Hook,
    ],
    weights: (c, t) => [
      {
        matches: (site) => hasRotation(t, site),
        weight: (w, site, context) => overRows(w, site, (rows) => rotated(rows, rotationAt(site, t, c, context), true)),
      },
    ],
  },
  peft,
  training: (c) => c,
  start: ({ model }, c) => {
    requireOneOf("oft", { r: c.r, oftBlockSize: c.oftBlockSize });
    const learned = chosenSites(model, c).map((site): readonly [string, HostTensor] => [`${site.path}.${PART}`, zeros(shapeAt(site, c))]);
    return { learned: Object.fromEntries(learned) };
  },
  // What another training has left out of bounds is brought back before the first step, as PEFT does in its forward pass.
  begin: (c, tensors) =>
    c.coft
      ? Object.fromEntries(Object.entries(tensors).map(([name, t]) => [name, name.endsWith(`.${PART}`) ? shortenedValues(t, c.eps) : t]))
      : tensors,
  stages: (c) =>
    c.coft
      ? {
          project: (params) => ({
            params: Object.fromEntries(
              Object.entries(params).map(([name, t]) => [name, name.endsWith(`.${PART}`) ? shortened(t, c.eps) : t]),
            ),
          }),
        }
      : {},
});
