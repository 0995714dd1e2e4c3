/**
 * LoRA as an editor (arXiv 2106.09685): A and B of some projections learn new facts, and nothing else. A begins uniform in ±1/√in and B at zero, as
 * in PEFT; W + (α/r)·B·A. Several facts are one batch. Adapters of one edit after the other lie beside each other.
 */
import {
  type Engine,
  f32,
  type HostTensor,
  LfmError,
  type Model,
  makeDelta,
  mul,
  type ParamTree,
  partsOf,
  type Rng,
  reshape,
  type Site,
  slice,
} from "@lfm/core";
import { z } from "zod";
import { CleanAndEdited, defineEditingMethod, type Editor, editedModel } from "../editor.js";
import { answerLossOf, editBatch, editBatchSpec, promptRows, requireRequests } from "../inputs.js";
import { compileEditStep, type EditStep } from "../optimise.js";
import { lowRankNames, rankOneForm } from "../rank-one.js";

const config = z.strictObject({
  targets: z
    .array(z.enum(["q", "k", "v", "o", "gate", "in", "out"]))
    .min(1)
    .default(["q", "v"])
    .describe("projections that learn; a fused layer learns as a whole"),
  layers: z.array(z.number().int().min(0)).optional().describe("blocks whose projections learn; default all"),
  rank: z.number().int().positive().default(8).describe("rank r"),
  alpha: z.number().positive().default(32).describe("scale α: what is added is multiplied by α/r"),
  steps: z.number().int().positive().default(70).describe("Adam steps"),
  lr: z.number().positive().default(5e-3).describe("step size of Adam"),
  stopLoss: z.number().min(0).default(0.01).describe("stop when the answers' loss is below"),
});
type LoraConfig = z.output<typeof config>;

export const lora = defineEditingMethod({
  id: "lora",
  summary: "Fine-tunes low-rank factors of attention projections on the new facts.",
  paper: {
    title: "LoRA: Low-Rank Adaptation of Large Language Models",
    arxiv: "2106.09685",
    year: 2021,
    survey: "7.2 memory-based editing",
  },
  needs: ["weights", "grad"],
  config,
  delta: rankOneForm,
  prepare: ({ model, parent = null, prefixes = [] }, c, context): Editor => {
    const sites = targetsOf(model, c);
    const searches = new CleanAndEdited((at) => compileFactorStep(context.engine, at, sites, c));
    return {
      edit: async (requests, previous = []) => {
        requireRequests(requests);
        const batch = editBatch(requests.flatMap((request) => promptRows(request, [[], ...prefixes])));
        const search = await searches.on(editedModel(model, previous), previous.length > 0 ? "edited" : "clean");
        const from = f32(firstFactors(sites, c, context.rng.split("factors")));
        const { steps, lr, stopLoss } = c;
        const run = { batch: { ...batch }, from, steps, lr, stopLoss, updateLast: true, phase: "lora" };
        const { change, losses } = await search.run(run, context);
        const delta = makeDelta(lora, c, factorTensors(change.data as Float32Array, sites, c), { parent });
        return { delta, model: editedModel(model, [...previous, delta]), curves: { loss: losses } };
      },
      dispose: () => searches.dispose(),
    };
  },
});

/** @throws {LfmError} CAPABILITY_MISSING where the model has none of them */
function targetsOf({ info }: Model, { targets, layers }: LoraConfig): readonly Site[] {
  const wanted = new Set<string>(targets);
  const found = info.sites.filter(
    (site) =>
      site.kind === "linear" &&
      site.weight !== undefined &&
      (layers ? site.layer !== undefined && layers.includes(site.layer) : true) &&
      partsOf(site).some((part) => wanted.has(part.role)),
  );
  if (found.length > 0) return found;
  throw new LfmError(
    "CAPABILITY_MISSING",
    `[@lfm/editing] lora: ${info.architecture} has no ${targets.join(", ")} in layers ${layers ?? "of any number"}`,
    { hint: `layers: 0..${info.layers - 1}` },
  );
}

interface Factor {
  readonly site: Site;
  /** Where A and B begin among all values. */
  readonly at: readonly [a: number, b: number];
}

/** A f32[r, in] and Bᵀ f32[r, out] of each site in turn, and how many values that is. */
function layoutOf(sites: readonly Site[], rank: number): { readonly factors: readonly Factor[]; readonly size: number } {
  let size = 0;
  const factors = sites.map((site) => {
    const a = size;
    const b = a + rank * site.weight!.in;
    size = b + rank * site.weight!.out;
    return { site, at: [a, b] as const };
  });
  return { factors, size };
}

function firstFactors(sites: readonly Site[], { rank }: LoraConfig, rng: Rng): Float32Array {
  const { factors, size } = layoutOf(sites, rank);
  const values = new Float32Array(size);
  for (const { site, at } of factors) {
    const bound = 1 / Math.sqrt(site.weight!.in);
    values.set(rng.split(site.path).uniformArray(rank * site.weight!.in, -bound, bound), at[0]);
  }
  return values;
}

function factorTensors(values: Float32Array, sites: readonly Site[], { rank, alpha }: LoraConfig): Record<string, HostTensor> {
  const entries = layoutOf(sites, rank).factors.flatMap(({ site, at: [a, b] }) => {
    const { keys, values: up } = lowRankNames(site);
    const [width, out] = [site.weight!.in, site.weight!.out];
    const scaled = values.slice(b, b + rank * out).map((v) => (v * alpha) / rank);
    return [
      [keys, f32(values.slice(a, b), [rank, width])],
      [up, f32(scaled, [rank, out])],
    ] as const;
  });
  return Object.fromEntries(entries);
}

function compileFactorStep(engine: Engine, model: Model, sites: readonly Site[], { rank, alpha }: LoraConfig): Promise<EditStep> {
  const { factors, size } = layoutOf(sites, rank);
  return compileEditStep(engine, model, {
    shape: [size],
    batch: editBatchSpec,
    loss: (on, params, change, batch) => {
      const tree: ParamTree = Object.fromEntries(
        factors.flatMap(({ site, at: [a, b] }) => {
          const { keys, values } = lowRankNames(site);
          const [width, out] = [site.weight!.in, site.weight!.out];
          const up = reshape(slice(change, 0, b, rank * out), [rank, out]);
          return [
            [keys, reshape(slice(change, 0, a, rank * width), [rank, width])],
            [values, mul(up, alpha / rank)],
          ];
        }),
      );
      const told = { mode: "eval", hooks: rankOneForm.hooks({}, tree, []) } as const;
      return { loss: answerLossOf(on, params, batch, told) };
    },
  });
}
