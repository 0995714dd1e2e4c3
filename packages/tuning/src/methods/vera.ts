/**
 * VeRA (arXiv 2310.11454): y = Wx + λ_b ∘ B(λ_d ∘ (Ax)). A f32[r, in] and B f32[out, r] are random, the same for all layers (each takes the first
 * columns of A and rows of B), and never learn; λ_d f32[r] and λ_b f32[out] do. As PEFT: A and B are what torch's generator gives for
 * `projectionPrngKey`, λ_d = 0.1, λ_b = 0, so a fresh adapter changes nothing.
 */
import {
  add,
  dropoutAt,
  expandDims,
  f32,
  type Hook,
  type HostTensor,
  LfmError,
  linear,
  mul,
  type ParamTree,
  type Site,
  slice,
  type Tensor,
  zeros,
} from "@lfm/core";
import { refuseOtherOptions } from "@lfm/formats";
import { z } from "zod";
import { defineTuning } from "../define-tuning.js";
import { productAt } from "../layer-change.js";
import { expectShape, expectShapes, layerOptions, type PeftForm, siteTensors } from "../peft-form.js";
import { chosenSites, targetFields } from "../target-sites.js";
import { torchUniform } from "../torch-uniform.js";
import { trainingFields } from "../training-options.js";

const config = z.strictObject({
  r: z.number().int().positive().default(256).describe("rank r of the shared random matrices"),
  dInitial: z.number().default(0.1).describe("value that λ_d starts from"),
  veraDropout: z.number().min(0).max(0.99).default(0).describe("dropout probability on the adapter's input"),
  projectionPrngKey: z.number().int().min(0).max(0xffffffff).default(0).describe("seed of A and B, as torch draws them"),
  saveProjection: z.boolean().default(true).describe("PEFT's file has A and B; without them whoever reads it draws them from the seed"),
  ...targetFields,
  ...trainingFields(1e-1),
});
type Config = z.output<typeof config>;

const A = "vera_A";
const B = "vera_B";
const PARTS = ["vera_lambda_b", "vera_lambda_d"] as const;
const partsAt = (site: Site, r: number): Record<(typeof PARTS)[number], readonly number[]> => ({
  vera_lambda_b: [site.weight!.out],
  vera_lambda_d: [r],
});

/** A f32[r, most inputs] and B f32[most outputs, r], drawn in this order by kaiming-uniform with gain √2. */
function projections(sites: readonly Site[], { r, projectionPrngKey }: Config): Record<string, HostTensor> {
  const widest = (side: "in" | "out"): number => Math.max(...sites.map((site) => site.weight![side]));
  const draw = torchUniform(projectionPrngKey);
  const drawn = (rows: number, columns: number): HostTensor => {
    const bound = Math.sqrt(3) * (Math.sqrt(2) / Math.sqrt(columns));
    return f32(draw(rows * columns, -bound, bound), [rows, columns]);
  };
  const [a, b] = [drawn(r, widest("in")), drawn(widest("out"), r)];
  return { [A]: a, [B]: b };
}

interface Vera {
  readonly a: Tensor;
  readonly b: Tensor;
  readonly d: Tensor;
  readonly scale: Tensor;
}

function veraAt({ path, weight }: Site, t: ParamTree): Vera {
  return {
    a: slice(t[A]!, 1, 0, weight!.in),
    b: slice(t[B]!, 0, 0, weight!.out),
    d: t[`${path}.vera_lambda_d`]!,
    scale: t[`${path}.vera_lambda_b`]!,
  };
}

function veraHooks(t: ParamTree, { veraDropout }: Config): readonly Hook[] {
  return [
    {
      matches: (site) => `${site.path}.vera_lambda_d` in t,
      output: (y, x, site, context) => {
        const { a, b, d, scale } = veraAt(site, t);
        const low = mul(linear(dropoutAt(x, veraDropout, context), a, undefined), d);
        return add(y, mul(linear(low, b, undefined), scale));
      },
    },
  ];
}

function veraWeights(t: ParamTree): readonly Hook[] {
  return [
    {
      matches: (site) => `${site.path}.vera_lambda_d` in t,
      weight: (w, site) => {
        const { a, b, d, scale } = veraAt(site, t);
        return add(w, productAt(site, mul(b, expandDims(scale, 1)), mul(a, expandDims(d, 1))));
      },
    },
  ];
}

const sameValues = (a: HostTensor, b: HostTensor): boolean => a.data.length === b.data.length && a.data.every((v, i) => v === b.data[i]);

const peft: PeftForm<Config> = {
  type: "VERA",
  write: (c, own, model) => {
    const { [A]: a, [B]: b, ...lambdas } = own;
    const sites = model.info.sites.filter((site) => `${site.path}.vera_lambda_d` in own);
    const drawn = projections(sites, c);
    // Others than those that the seed gives must be in the file.
    const save = c.saveProjection || !sameValues(drawn[A]!, a!) || !sameValues(drawn[B]!, b!);
    const options = {
      r: c.r,
      d_initial: c.dInitial,
      vera_dropout: c.veraDropout,
      projection_prng_key: c.projectionPrngKey,
      save_projection: save,
      ...layerOptions(own, "vera_lambda_d", model),
    };
    return { options, tensors: { ...lambdas, ...(save ? { [`base_model.${A}`]: a!, [`base_model.${B}`]: b! } : {}) } };
  },
  read: (adapter, model) => {
    const { config: given } = adapter;
    if (given.peft_type !== "VERA") throw new LfmError("INTERNAL", `[@lfm/tuning] vera reads no ${given.peft_type}`);
    refuseOtherOptions(given, ["r", "d_initial", "vera_dropout", "projection_prng_key", "save_projection"]);
    const { [`base_model.${A}`]: a, [`base_model.${B}`]: b, ...rest } = adapter.tensors;
    const found = siteTensors({ ...adapter, tensors: rest }, model, PARTS);
    for (const site of found.sites) expectShapes(found.tensors, site.path, partsAt(site, given.r));
    const options = {
      r: given.r,
      dInitial: given.d_initial,
      veraDropout: Math.min(0.99, given.vera_dropout),
      projectionPrngKey: given.projection_prng_key,
      saveProjection: given.save_projection,
      targetModules: found.sites.map((site) => site.path),
    };
    const drawn = projections(found.sites, config.parse(options));
    if (given.save_projection && !(a && b))
      throw new LfmError("FILE_FORMAT", `[@lfm/tuning] the adapter says that it holds ${A} and ${B}, and it does not`);
    // Matrices that were drawn for wider layers serve, too.
    const [columns, rows] = [a?.shape[1] ?? 0, b?.shape[0] ?? 0];
    if (a) expectShape(A, a, [given.r, Math.max(columns, drawn[A]!.shape[1]!)]);
    if (b) expectShape(B, b, [Math.max(rows, drawn[B]!.shape[0]!), given.r]);
    const shared = given.save_projection ? { [A]: a!, [B]: b! } : drawn;
    return { config: options, tensors: { ...found.tensors, ...shared }, parameters: found.parameters };
  },
};

export const vera = defineTuning({
  id: "vera",
  summary: "Learns two vectors for each layer around random matrices that all layers share.",
  paper: { title: "VeRA: Vector-based Random Matrix Adaptation", arxiv: "2310.11454", year: 2023, survey: "3.1 weight engineering" },
  config,
  delta: {
    hooks: (c, t) => veraHooks(t, c),
    weights: (_c, t) => veraWeights(t),
    frozen: (name) => name === A || name === B,
  },
  peft,
  training: (c) => c,
  start: ({ model }, c) => {
    const sites = chosenSites(model, c);
    const learned = sites.flatMap((site) => [
      [`${site.path}.vera_lambda_d`, f32(new Float32Array(c.r).fill(c.dInitial), [c.r])] as const,
      [`${site.path}.vera_lambda_b`, zeros([site.weight!.out])] as const,
    ]);
    return { learned: Object.fromEntries(learned), carried: projections(sites, c) };
  },
});
