/**
 * AdaLoRA (arXiv 2303.10512): ΔW = α/r · B(E ∘ A) like a singular value decomposition, A f32[r, in], E f32[r, 1], B f32[out, r]. A penalty keeps A's
 * rows and B's columns nearly orthonormal (equation 3), and a budget that falls over the training is spent on the triplets that matter most: the
 * others' E is put to 0, and they are not part of the result. As PEFT: r in the scale stays that of the start, A and B ~ N(0, 0.02²), E = 0.
 */
import {
  add,
  constant,
  dropoutAt,
  f32,
  type Hook,
  type HostTensor,
  LfmError,
  linear,
  matmul,
  mul,
  type ParamTree,
  reshape,
  type Site,
  sqrt,
  square,
  sub,
  sum,
  type Tensor,
  transpose,
  zeros,
} from "@lfm/core";
import { refuseOtherOptions } from "@lfm/formats";
import { z } from "zod";
import { defineTuning } from "../define-tuning.js";
import { productAt } from "../layer-change.js";
import { expectShapes, layerOptions, type PeftForm, siteTensors } from "../peft-form.js";
import { byShape, rankBudget, sideBySide, type Triplet } from "../rank-budget.js";
import { chosenSites, targetFields } from "../target-sites.js";
import { trainingFields } from "../training-options.js";

const config = z.strictObject({
  initR: z.number().int().positive().default(12).describe("rank r of every layer at the start"),
  targetR: z.number().int().positive().default(8).describe("mean rank at the end"),
  tinit: z.number().int().min(0).default(0).describe("steps before the budget falls"),
  tfinal: z.number().int().min(0).default(0).describe("steps at the end in which the ranks stay"),
  deltaT: z.number().int().positive().default(1).describe("steps between two decisions"),
  beta1: z.number().gt(0).lt(1).default(0.85).describe("β₁ of the smoothed sensitivity"),
  beta2: z.number().gt(0).lt(1).default(0.85).describe("β₂ of its smoothed deviation"),
  orthRegWeight: z.number().min(0).default(0.5).describe("weight γ of the penalty on A and B that are not orthonormal"),
  totalStep: z.number().int().positive().optional().describe("steps that the budget is planned for; default all steps"),
  loraAlpha: z.number().positive().default(8).describe("scale numerator α: the update is multiplied by α/r"),
  loraDropout: z.number().min(0).max(0.99).default(0).describe("dropout probability on the adapter's input"),
  rankPattern: z
    .record(z.string(), z.array(z.boolean()))
    .optional()
    .describe("which of the first ranks are left, by the layer's path: set by training"),
  ...targetFields,
  ...trainingFields(1e-2),
});
type Config = z.output<typeof config>;

const PARTS = ["lora_A", "lora_B", "lora_E"] as const;

function namesAt({ path }: Pick<Site, "path">): Triplet {
  return { a: `${path}.lora_A`, e: `${path}.lora_E`, b: `${path}.lora_B` };
}

/** What PEFT divides by is a little more than the rank. */
const scaleOf = ({ loraAlpha, initR }: Config): number => loraAlpha / (initR + 1e-5);

function adaloraHooks(t: ParamTree, c: Config): readonly Hook[] {
  return [
    {
      matches: (site) => namesAt(site).e in t,
      output: (y, x, site, context) => {
        const { a, e, b } = namesAt(site);
        const low = linear(dropoutAt(x, c.loraDropout, context), mul(t[a]!, t[e]!), undefined);
        return add(y, linear(mul(low, scaleOf(c)), t[b]!, undefined));
      },
    },
  ];
}

function adaloraWeights(t: ParamTree, c: Config): readonly Hook[] {
  return [
    {
      matches: (site) => namesAt(site).e in t,
      weight: (w, site) => {
        const { a, e, b } = namesAt(site);
        return add(w, productAt(site, t[b]!, mul(mul(t[a]!, t[e]!), scaleOf(c))));
      },
    },
  ];
}

/** γ times the mean of ‖AAᵀ − I‖ and ‖BᵀB − I‖ over all layers. */
function orthogonality(t: ParamTree, { initR: r, orthRegWeight }: Config): Tensor {
  const identity = constant(
    f32(
      Float32Array.from({ length: r * r }, (_, i) => (i % (r + 1) === 0 ? 1 : 0)),
      [r, r],
    ),
  );
  const shapes = Object.fromEntries(Object.entries(t).map(([name, { shape }]) => [name, shape as readonly number[]]));
  const named = (part: string): string[] => Object.keys(t).filter((name) => name.endsWith(part));
  const norms = (["a", "b"] as const).flatMap((part) =>
    byShape(named(part === "a" ? ".lora_A" : ".lora_B"), shapes).map((group) => {
      const all = sideBySide(group, part, t);
      const layers = group.names.length;
      const rows = part === "a" ? reshape(all, [layers, r, -1]) : transpose(reshape(all, [-1, layers, r]), [1, 2, 0]);
      return sum(sqrt(sum(square(sub(matmul(rows, rows, { transB: true }), identity)), [1, 2])));
    }),
  );
  return mul(
    norms.reduce((a, b) => add(a, b)),
    orthRegWeight / (named(".lora_A").length + named(".lora_B").length),
  );
}

/** @throws {LfmError} CONFIG_INVALID for a plan that has no step in which the budget falls */
function planned({ totalStep, steps, epochs, ...c }: Config): Config & { readonly totalStep: number } {
  if (totalStep === undefined && epochs !== undefined)
    throw new LfmError("CONFIG_INVALID", "[@lfm/tuning] adalora plans its budget in steps, and epochs say nothing of them", {
      hint: "give totalStep, or steps instead of epochs",
    });
  const total = totalStep ?? steps;
  if (c.targetR > c.initR)
    throw new LfmError("CONFIG_INVALID", `[@lfm/tuning] adalora: a target rank of ${c.targetR} is more than the first rank ${c.initR}`);
  if (c.tinit >= total - c.tfinal)
    throw new LfmError(
      "CONFIG_INVALID",
      `[@lfm/tuning] adalora: ${c.tinit} and ${c.tfinal} of ${total} steps leave none for the budget to fall`,
      {
        hint: "lower tinit or tfinal, or take more steps",
      },
    );
  return { ...c, steps, ...(epochs === undefined ? {} : { epochs }), totalStep: total };
}

/** Rows (of A and E) or columns (of B) that are left. */
function left(t: HostTensor, keep: readonly boolean[], axis: 0 | 1): HostTensor {
  const [rows, columns] = t.shape as readonly [number, number];
  const kept = keep.flatMap((stays, i) => (stays ? [i] : []));
  const value = (i: number, j: number): number => Number(t.data[i * columns + j]);
  return axis === 0
    ? f32(
        kept.flatMap((i) => Array.from({ length: columns }, (_, j) => value(i, j))),
        [kept.length, columns],
      )
    : f32(Array.from({ length: rows }, (_, i) => kept.map((j) => value(i, j))).flat(), [rows, kept.length]);
}

/** Without the triplets that have been put to 0. Where nothing has been learned yet they all stay. */
function pruned(
  learned: Readonly<Record<string, HostTensor>>,
  c: Config,
): { readonly tensors: Record<string, HostTensor>; readonly config: Config } {
  const paths = Object.keys(learned).flatMap((name) => (name.endsWith(".lora_E") ? [name.slice(0, -".lora_E".length)] : []));
  const keep = Object.fromEntries(paths.map((path) => [path, Array.from(learned[`${path}.lora_E`]!.data, Number).map((v) => v !== 0)]));
  const all = Object.values(keep).flat();
  const tensors: Record<string, HostTensor> = { ...learned };
  if (all.every(Boolean) || !all.some(Boolean)) return { tensors, config: c };
  for (const [path, own] of Object.entries(keep)) {
    const { a, e, b } = namesAt({ path });
    if (own.some(Boolean))
      Object.assign(tensors, { [a]: left(tensors[a]!, own, 0), [e]: left(tensors[e]!, own, 0), [b]: left(tensors[b]!, own, 1) });
    else for (const name of [a, e, b]) delete tensors[name];
  }
  return { tensors, config: { ...c, rankPattern: keep } };
}

const shapesAt = ({ weight }: Site, r: number): Record<(typeof PARTS)[number], readonly number[]> => ({
  lora_A: [r, weight!.in],
  lora_B: [weight!.out, r],
  lora_E: [r, 1],
});

const peft: PeftForm<Config> = {
  type: "ADALORA",
  write: (c, own, model, stored) => {
    const ranks = c.rankPattern ?? {};
    const none = model.info.sites.filter((site) => ranks[site.path] && !(namesAt(site).e in own));
    // A layer that has no rank left is there with tensors of none.
    const empty = none.flatMap((site) =>
      Object.entries(shapesAt(site, 0)).map(([part, shape]) => [`${site.path}.${part}`, zeros(shape)] as const),
    );
    const tensors = { ...own, ...Object.fromEntries(empty) };
    const options = {
      init_r: c.initR,
      target_r: c.targetR,
      tinit: c.tinit,
      tfinal: c.tfinal,
      deltaT: c.deltaT,
      beta1: c.beta1,
      beta2: c.beta2,
      orth_reg_weight: c.orthRegWeight,
      total_step: c.totalStep ?? Math.max(c.steps, c.tinit + c.tfinal + 1),
      lora_alpha: c.loraAlpha,
      lora_dropout: c.loraDropout,
      rank_pattern: c.rankPattern
        ? Object.fromEntries(Object.entries(ranks).map(([path, keep]) => [`${stored(path)}.lora_E`, keep]))
        : null,
      ...layerOptions(tensors, "lora_E", model),
    };
    return { options, tensors };
  },
  read: (adapter, model) => {
    const { config: given } = adapter;
    if (given.peft_type !== "ADALORA") throw new LfmError("INTERNAL", `[@lfm/tuning] adalora reads no ${given.peft_type}`);
    // r is LoRA's and not looked at; configurations of initialisations say how training began.
    refuseOtherOptions(given, [
      ...[
        "init_r",
        "target_r",
        "lora_alpha",
        "lora_dropout",
        "tinit",
        "tfinal",
        "deltaT",
        "beta1",
        "beta2",
        "orth_reg_weight",
        "total_step",
      ],
      ...["rank_pattern", "r", "use_rslora", "eva_config", "qalora_group_size", "megatron_core"],
    ]);
    const found = siteTensors(adapter, model, PARTS);
    const ends = /\.lora_E(\.[^.]+)?$/;
    const pattern = Object.entries(given.rank_pattern ?? {}).map(([name, keep]) => {
      const site = found.sites.find((s) => [name.replace(ends, "")].some((path) => path === s.path || path.endsWith(`.${s.path}`)));
      if (!site) throw new LfmError("FILE_FORMAT", `[@lfm/tuning] the adapter's rank_pattern names "${name}", which it has no tensors for`);
      return [site.path, keep] as const;
    });
    const ranks = Object.fromEntries(pattern);
    const tensors: Record<string, HostTensor> = { ...found.tensors };
    for (const site of found.sites) {
      const r = ranks[site.path]?.filter(Boolean).length ?? given.init_r;
      expectShapes(found.tensors, site.path, shapesAt(site, r));
      if (r === 0) for (const part of PARTS) delete tensors[`${site.path}.${part}`];
    }
    const options = {
      initR: given.init_r,
      targetR: given.target_r,
      tinit: given.tinit,
      tfinal: given.tfinal,
      deltaT: given.deltaT,
      beta1: given.beta1,
      beta2: given.beta2,
      orthRegWeight: given.orth_reg_weight,
      ...(given.total_step ? { totalStep: given.total_step } : {}),
      loraAlpha: given.lora_alpha > 0 ? given.lora_alpha : given.init_r,
      loraDropout: Math.min(0.99, given.lora_dropout),
      ...(pattern.length > 0 ? { rankPattern: ranks } : {}),
      targetModules: found.sites.map((site) => site.path),
    };
    return { config: options, tensors, parameters: found.parameters };
  },
};

export const adalora = defineTuning({
  id: "adalora",
  summary: "Learns low-rank updates and spends a budget of ranks on the layers that need them.",
  paper: {
    title: "AdaLoRA: Adaptive Budget Allocation for Parameter-Efficient Fine-Tuning",
    arxiv: "2303.10512",
    year: 2023,
    survey: "3.1 weight engineering",
  },
  config,
  delta: { hooks: (c, t) => adaloraHooks(t, c), weights: (c, t) => adaloraWeights(t, c) },
  peft,
  training: (c) => c,
  penalties: (c) => ({ orthogonality: (learned) => orthogonality(learned, c) }),
  start: ({ model }, c, { rng }) => {
    planned(c);
    const learned = chosenSites(model, c).flatMap((site) => {
      const { a, e, b } = namesAt(site);
      const own = rng.split("init").split(site.path);
      const normal = (rows: number, columns: number): HostTensor => f32(own.normalArray(rows * columns, 0.02), [rows, columns]);
      const { in: width, out } = site.weight!;
      return [[a, normal(c.initR, width)] as const, [b, normal(out, c.initR)] as const, [e, zeros([c.initR, 1])] as const];
    });
    return { learned: Object.fromEntries(learned) };
  },
  stages: (c, { learned }) => {
    const layers = Object.keys(learned).flatMap((name) =>
      name.endsWith(".lora_E") ? [namesAt({ path: name.slice(0, -".lora_E".length) })] : [],
    );
    return rankBudget(planned(c), layers, Object.fromEntries(Object.entries(learned).map(([name, t]) => [name, t.shape])));
  },
  finish: (learned, c) => pruned(learned, c),
});
