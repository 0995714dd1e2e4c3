/**
 * AdapterFusion (arXiv 2005.00247): of several trained adapters that stand in the same places, attention over their answers a_i learns what each
 * example needs: softmax_i((Q·x + q)·(K·a_i + k)) weighs V·a_i, added to what a single adapter's answer is added to; x is what the adapters read.
 * Members and base stay frozen. Q, K — f32[hidden, hidden] with biases, V likewise without, near the identity at the start and held there by
 * valueDecay·‖V − I‖².
 */
import {
  add,
  constant,
  type Delta,
  deltasInput,
  dropoutAt,
  expandDims,
  f32,
  type Hook,
  type HostTensor,
  LfmError,
  linear,
  type Model,
  matmul,
  mul,
  type ParamTree,
  type Site,
  softmax,
  square,
  squeeze,
  stack,
  sub,
  sum,
  type Tensor,
  tracedTensors,
  transpose,
  zeros,
} from "@lfm/core";
import { z } from "zod";
import { type BottleneckHook, behindBlock, isBottleneckHook, partPath, residualOf } from "../bottleneck-sites.js";
import { defineTuning } from "../define-tuning.js";
import { trainingFields } from "../training-options.js";

const config = z.strictObject({
  value: z.boolean().default(true).describe("what answers become before they are mixed, V, learns too"),
  valueDecay: z.number().min(0).default(0.01).describe("weight of ‖V − I‖² in the loss"),
  attentionDropout: z.number().min(0).max(0.99).default(0).describe("dropout probability of the scores"),
  ...trainingFields(1e-3),
});

const named = ["query.weight", "query.bias", "key.weight", "key.bias"] as const;
type Name = (typeof named)[number] | "value.weight";

/** The tensors of a fusion at one place. */
export function fusionNames({ value }: { readonly value: boolean }): readonly Name[] {
  return value ? [...named, "value.weight"] : named;
}

/** Name of a tensor of the fusion behind a part. */
export function fusionTensor(site: Pick<Site, "path">, name: Name): string {
  return `${partPath(site)}.fusion.${name}`;
}

export const adapterFusion = defineTuning({
  id: "adapter-fusion",
  summary: "Attention over the answers of trained bottleneck adapters learns; adapters and base stay frozen.",
  paper: {
    title: "AdapterFusion: Non-Destructive Task Composition for Transfer Learning",
    arxiv: "2005.00247",
    year: 2020,
    survey: "3.1 weight engineering",
  },
  config,
  presets: { static: { summary: "answers are mixed as they are, without V", config: { value: false } } },
  inputs: { members: { kind: deltasInput, about: "that are fused: trained by bottleneck or compacter, in the same places" } },
  delta: {
    hooks: (c, t, members) => {
      const adapters = members.map((hooks) => hooks.find(isBottleneckHook)!);
      return [fusionHook(c, t, adapters)];
    },
  },
  training: (c) => c,
  penalties: (c) => (c.value && c.valueDecay > 0 ? { valueDecay: (own) => mul(distanceFromIdentity(own), c.valueDecay) } : {}),
  start: ({ model, members = {} }, c, { rng }) => {
    const n = model.info.hiddenSize;
    const learned: Record<string, HostTensor> = {};
    for (const site of commonSites(model, members)) {
      const own = rng.split(site.path);
      for (const name of ["query", "key"] as const) {
        learned[fusionTensor(site, `${name}.weight`)] = f32(own.normalArray(n * n, 0.02), [n, n]);
        learned[fusionTensor(site, `${name}.bias`)] = zeros([n]);
      }
      if (c.value) learned[fusionTensor(site, "value.weight")] = nearIdentity(n);
    }
    return { learned };
  },
});

function fusionHook(c: z.output<typeof config>, t: ParamTree, adapters: readonly BottleneckHook[]): Hook {
  // Where members differ in how they are joined, the last one says, as in the library.
  const last = adapters.at(-1)!;
  return {
    matches: (site) => site.kind === "residual" && fusionTensor(site, "query.weight") in t,
    output: (h, r, site, context) => {
      const own = (name: Name): Tensor => t[fusionTensor(site, name)]!;
      const read = last.read(h, r, context);
      // f32[batch, seq, members, hidden]
      const answers = stack(
        adapters.map((a) => a.answer(read, site)),
        2,
      );
      const query = linear(read, own("query.weight"), own("query.bias"));
      const keys = linear(answers, own("key.weight"), own("key.bias"));
      const scores = squeeze(matmul(expandDims(query, 2), transpose(keys, [0, 1, 3, 2])), 2);
      const weights = softmax(dropoutAt(scores, c.attentionDropout, context));
      const values = c.value ? linear(answers, own("value.weight"), undefined) : answers;
      const mixed = squeeze(matmul(expandDims(weights, 2), values), 2);
      return behindBlock(last.placement, add(mixed, residualOf(last.placement, h, r, context)), r, context);
    },
  };
}

/** Σ ‖V − I‖² over all places. */
function distanceFromIdentity(own: ParamTree): Tensor {
  const values = Object.entries(own).flatMap(([name, t]) => (name.endsWith(".fusion.value.weight") ? [t] : []));
  return values.map((v) => sum(square(sub(v, identity(v.dim(0) as number))))).reduce((a, b) => add(a, b));
}

function identity(n: number): Tensor {
  return constant(diagonal(n, 0));
}

/** 1 on the diagonal and 1e-6 off it, as in the authors' code. */
function nearIdentity(n: number): HostTensor {
  return diagonal(n, 1e-6);
}

function diagonal(n: number, rest: number): HostTensor {
  return f32(
    Float32Array.from({ length: n * n }, (_, i) => (i % (n + 1) === 0 ? 1 : rest)),
    [n, n],
  );
}

/** Where every member has an adapter. @throws {LfmError} CONFIG_INVALID for members that cannot be fused */
function commonSites(model: Model, members: Readonly<Record<string, Delta>>): readonly Site[] {
  const all = Object.entries(members);
  if (all.length < 2)
    throw new LfmError("CONFIG_INVALID", `[@lfm/tuning] adapter-fusion fuses two adapters or more; ${all.length} are given`, {
      hint: "--adapter ./a --adapter ./b",
    });
  const places = all.map(([name, delta]) => {
    const hook = delta.hooks(tracedTensors(delta)).find(isBottleneckHook);
    if (!hook)
      throw new LfmError(
        "CONFIG_INVALID",
        `[@lfm/tuning] "${name}" is a delta of ${delta.method}, and adapter-fusion fuses bottleneck adapters`,
      );
    if (hook.placement.reads === "stream")
      throw new LfmError(
        "CONFIG_INVALID",
        `[@lfm/tuning] "${name}" stands beside its part; adapter-fusion fuses adapters that stand behind theirs`,
      );
    return { name, sites: model.info.sites.filter((site) => hook.matches(site)) };
  });
  const [first, ...others] = places;
  for (const other of others)
    if (other.sites.map((s) => s.path).join() !== first!.sites.map((s) => s.path).join())
      throw new LfmError("CONFIG_INVALID", `[@lfm/tuning] "${first!.name}" and "${other.name}" stand in different places of the model`);
  return first!.sites;
}
