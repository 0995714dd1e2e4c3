/**
 * OT fusion: layer by layer the neurons of one model are carried onto those of the first by optimal transport between uniform masses, then
 * averaged; widths may differ. With the plan T f64[b, a] a neuron of a is made of Σ n_a·T·(neurons of b). What reads them: the authors' code
 * divides T by its column sums there as well (`incoming: "mean"`), which loses signal where several neurons of b meet in one of a; dividing
 * by row sums ("sum", the default) keeps the function of a net whose neurons are copies. For equal widths both are the same permutation.
 */

import {
  type Delta,
  defineMethod,
  type HostTensor,
  loadWeight,
  type MethodContext,
  type Model,
  makeDelta,
  modelsInput,
  replacedParameters,
  throwIfAborted,
  withDeltas,
} from "@lfm/core";
import { optimalTransport } from "@lfm/core/linalg";
import type { UnitStatistics } from "@lfm/statistics";
import { z } from "zod";
import { activationStatistics } from "../alignment/activation-statistics.js";
import { type AlignmentInputs, readModels, shares, withNorms } from "../alignment/inputs.js";
import type { PermutationSpec, UnitGroup } from "../alignment/permutation-spec.js";
import { mapUnits, type UnitMap, weightedSum } from "../alignment/unit-maps.js";
import { unitRows } from "../alignment/unit-rows.js";
import { examplesInput } from "../input-kinds.js";

export interface OtFusionOutput {
  /** On the first model, whatever the widths of the others: f32. */
  readonly delta: Delta;
  readonly model: Model;
  /** Transport plans f64[units of the model, units of the first] by model and group. */
  readonly plans: Readonly<Record<string, Readonly<Record<string, Float64Array>>>>;
}

const config = z.strictObject({
  match: z.enum(["weights", "activations"]).default("weights").describe("what the distance between two neurons is taken of"),
  distance: z.enum(["euclidean", "squared"]).default("euclidean").describe("ground metric"),
  incoming: z.enum(["sum", "mean"]).default("sum").describe("what reads a fused neuron: sum keeps the function, mean is the authors' code"),
  weights: z.array(z.number()).optional().describe("weight of each model in the average; default 1 each"),
});
type Config = z.output<typeof config>;

export const otFusion = defineMethod({
  id: "ot-fusion",
  paradigm: "reuse",
  summary: "Carries the neurons of models of any widths onto those of the first by optimal transport, then averages.",
  paper: { title: "Model Fusion via Optimal Transport", arxiv: "1910.05653", year: 2019, survey: "5.1 weight interpolation" },
  needs: ["weights"],
  inputs: {
    models: modelsInput,
    data: {
      kind: examplesInput,
      about: "for activations; labels are not looked at",
      when: (c) => c.match === "activations",
      hint: "--match activations",
    },
  },
  config,
  delta: replacedParameters,
  run: async (inputs: AlignmentInputs, c, context): Promise<OtFusionOutput> => {
    throwIfAborted(context.signal, "[@lfm/reuse] ot-fusion");
    const { names, models, specs } = readModels(inputs, "ot-fusion");
    const w = shares(c.weights, models.length);
    const parts = [mapUnits(specs[0]!, {}, models[0]!.params)];
    const plans: Record<string, Record<string, Float64Array>> = {};
    for (let k = 1; k < models.length; k++) {
      const seen =
        c.match === "activations" ? await distancesSeen(inputs, [models[0]!, models[k]!], [specs[0]!, specs[k]!], context) : undefined;
      const fused = carry({ a: models[0]!, b: models[k]!, specA: specs[0]!, specB: specs[k]! }, c, seen, (done, total) => {
        context.progress({ phase: "fuse", done: (k - 1) * total + done, total: (models.length - 1) * total, unit: "layer" });
        throwIfAborted(context.signal, "[@lfm/reuse] ot-fusion");
      });
      plans[names[k]!] = fused.plans;
      parts.push(fused.params);
    }
    const merged = await withNorms(models[0]!, weightedSum(parts, w), inputs, context);
    const delta = makeDelta(otFusion, c, merged, { parent: inputs.parent ?? null });
    return { delta, model: withDeltas(models[0]!, [delta]), plans };
  },
});

interface Pair {
  readonly a: Model;
  readonly b: Model;
  readonly specA: PermutationSpec;
  readonly specB: PermutationSpec;
}

function carry(
  { a, b, specA, specB }: Pair,
  c: Config,
  seen: ((group: string) => Float64Array) | undefined,
  onLayer: (done: number, total: number) => void,
): { params: Record<string, HostTensor>; plans: Record<string, Float64Array> } {
  const maps: Record<string, UnitMap> = {};
  const plans: Record<string, Float64Array> = {};
  const pairs = specA.groups.flatMap((g, i) => (g.kind === "units" && g.elementwise ? [[g, specB.groups[i] as UnitGroup] as const] : []));
  for (const [done, [left, right]] of pairs.entries()) {
    const squared = seen?.(left.id) ?? weightDistances(a, b, left, right, specB, maps);
    const cost = c.distance === "squared" ? squared : squared.map(Math.sqrt);
    const { plan } = optimalTransport(cost, right.size, left.size);
    plans[left.id] = plan;
    maps[right.id] = planMap(plan, right.size, left.size, c.incoming);
    onLayer(done + 1, pairs.length);
  }
  return { params: mapUnits(specB, maps, b.params), plans };
}

/** Turns a plan f64[from, to] into the map of units. */
function planMap(plan: Float64Array, from: number, to: number, incoming: Config["incoming"]): UnitMap {
  const turned = (scale: number): Float64Array =>
    Float64Array.from({ length: to * from }, (_, k) => scale * plan[(k % from) * to + Math.floor(k / from)]!);
  return { to, from, makes: turned(to), reads: turned(incoming === "sum" ? from : to) };
}

/** f64[b, a] of squared distances between what makes the neurons (weights, biases, norms; statistics left out), earlier layers of b already carried. */
function weightDistances(
  a: Model,
  b: Model,
  left: UnitGroup,
  right: UnitGroup,
  specB: PermutationSpec,
  maps: Readonly<Record<string, UnitMap>>,
): Float64Array {
  const out = new Float64Array(right.size * left.size);
  for (const [u, use] of right.uses.entries()) {
    if (!use.makes || !b.info.params[use.param]!.trainable) continue;
    const moved = mapUnits(specB, maps, b.params, [use.param])[use.param]!;
    const [x, y] = [unitRows(moved, use, right.size), unitRows(loadWeight(a.params[left.uses[u]!.param]!), left.uses[u]!, left.size)];
    for (let i = 0; i < right.size; i++) {
      for (let j = 0; j < left.size; j++) {
        let sum = 0;
        for (let k = 0; k < x.width; k++) sum += (x.rows[i * x.width + k]! - y.rows[j * x.width + k]!) ** 2;
        out[i * left.size + j]! += sum;
      }
    }
  }
  return out;
}

/** Mean squared distances between activations, f64[b, a] of each group. */
async function distancesSeen(
  inputs: AlignmentInputs,
  models: readonly Model[],
  specs: readonly PermutationSpec[],
  context: MethodContext,
): Promise<(group: string) => Float64Array> {
  const seen = await activationStatistics(
    context.engine,
    models,
    specs,
    inputs.data ?? [],
    context.signal ? { signal: context.signal } : {},
  );
  return (id) => {
    const parts = seen[id]!.map((t) => squaredDistances(t.statistics));
    return parts.reduce((x, y) => x.map((v, k) => v + y[k]!));
  };
}

function squaredDistances({ sizes, mean, scatter, samples }: UnitStatistics): Float64Array {
  const [a, b] = sizes as [number, number];
  const n = a + b;
  const moment = (i: number, j: number): number => scatter[i * n + j]! / samples + mean[i]! * mean[j]!;
  return Float64Array.from({ length: a * b }, (_, k) => {
    const [i, j] = [a + Math.floor(k / a), k % a];
    return Math.max(0, moment(i, i) + moment(j, j) - 2 * moment(i, j));
  });
}
