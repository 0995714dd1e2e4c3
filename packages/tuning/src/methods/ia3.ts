/**
 * IA³ (arXiv 2205.05638): learned vectors rescale what attention keys, values and the MLP's inner activations are: y ⊙ l at the output of k and
 * v, and (x ⊙ l) before the MLP's output projection. All start at 1, so a fresh adapter changes nothing. As PEFT: f32[out, 1] at outputs,
 * f32[1, in] at feed-forward layers; the bias of an output is rescaled with it. Of a fused layer (GPT-2's c_attn) only the named parts learn.
 */
import {
  type Dim,
  f32,
  type Hook,
  type HostTensor,
  LfmError,
  mul,
  overParts,
  type ParamTree,
  partsOf,
  reshape,
  type Site,
  type SitePart,
  type SiteRole,
  sizeOfRole,
  type Tensor,
} from "@lfm/core";
import { namedRecord, parameterName } from "@lfm/formats";
import { z } from "zod";
import { defineTuning } from "../define-tuning.js";
import { expectShape, type PeftForm, siteOf } from "../peft-form.js";
import { targetSites } from "../target-sites.js";
import { trainingFields } from "../training-options.js";

const config = z.strictObject({
  targetModules: z.array(z.string()).min(1).default(["k", "v"]).describe("layers whose output is rescaled, by path, dotted suffix or role"),
  feedforwardModules: z.array(z.string()).default(["out"]).describe("layers whose input is rescaled, by path, dotted suffix or role"),
  ...trainingFields(3e-2),
});

const nameOf = (site: Site): string => `${site.path}.ia3_l`;
const partName = (site: Site, role: SiteRole): string => `${nameOf(site)}.${role}`;

/** What a vector of this shape rescales: outputs are a column, inputs a row, also where there is but one of them. */
function scaled(site: Site, shape: readonly Dim[]): "in" | "out" {
  return shape[0] === site.weight!.out && shape[1] === 1 ? "out" : "in";
}

/** The vector of a site over its inputs, f32[in], or over its outputs, f32[out]. */
function vectorAt(site: Site, tensors: ParamTree): { readonly over: "in" | "out"; readonly l: Tensor } {
  const l = tensors[nameOf(site)]!;
  const over = scaled(site, l.shape);
  return { over, l: reshape(l, [site.weight![over]]) };
}

function scalingHooks(tensors: ParamTree): readonly Hook[] {
  const rescale = (over: "in" | "out") => (x: Tensor, site: Site) => {
    const found = vectorAt(site, tensors);
    return found.over === over ? mul(x, found.l) : x;
  };
  const [input, output] = [rescale("in"), rescale("out")];
  return [{ matches: (site) => nameOf(site) in tensors, input, output: (y, _x, site) => output(y, site) }];
}

/** The same as a change of weights: rows or columns are rescaled, and the bias with the outputs. */
function scaledWeights(tensors: ParamTree): readonly Hook[] {
  return [
    {
      matches: (site) => nameOf(site) in tensors,
      weight: (w, site) => {
        const { over, l } = vectorAt(site, tensors);
        const rows = (site.weight!.layout === "out-in") === (over === "out");
        return mul(w, rows ? reshape(l, [site.weight![over], 1]) : l);
      },
      bias: (b, site) => {
        const { over, l } = vectorAt(site, tensors);
        return over === "out" ? mul(b, l) : b;
      },
    },
  ];
}

/** The roles of a fused target that learn by themselves; none where all of it does. */
function learnedRoles(site: Site, { targetModules }: z.output<typeof config>): readonly SiteRole[] {
  const whole = targetModules.some((t) => t === site.path || site.path.endsWith(`.${t}`) || t === site.role || t === "all-linear");
  return whole ? [] : rolesOf(site.parts ?? []).filter((role) => targetModules.includes(role));
}

function rolesOf(parts: readonly SitePart[]): readonly SiteRole[] {
  return [...new Set(parts.map((p) => p.role))];
}

const ones = (shape: readonly [number, number]): HostTensor => f32(new Float32Array(shape[0] * shape[1]).fill(1), shape);

const peft: PeftForm<z.output<typeof config>> = {
  type: "IA3",
  // transformers 5 holds the experts of a mixture as one tensor: PEFT's LoRA knows their places, its IA3 does not and would pass them over.
  refusal: (delta) =>
    Object.keys(delta.tensors).some((name) => /\.experts\.\d+\./.test(name))
      ? { what: "experts", hint: "--target-modules k,v --feedforward-modules o learns beside them" }
      : undefined,
  write: (_c, own, { info }) => {
    const sites = info.sites.filter((s) => nameOf(s) in own);
    const paths = (some: readonly Site[]): string[] => some.map((s) => s.path);
    const options = {
      target_modules: paths(sites),
      feedforward_modules: paths(sites.filter((s) => scaled(s, own[nameOf(s)]!.shape) === "in")),
      fan_in_fan_out: sites.some((s) => s.weight?.layout === "in-out"),
    };
    return { options, tensors: own };
  },
  read: (adapter, model) => {
    const tensors: Record<string, HostTensor> = {};
    const parameters = namedRecord<HostTensor>();
    const paths: Record<"in" | "out", string[]> = { in: [], out: [] };
    for (const [name, t] of Object.entries(adapter.tensors)) {
      if (!name.endsWith(".ia3_l")) {
        parameters[parameterName(name)] = t;
        continue;
      }
      const site = siteOf(model, name.slice(0, -".ia3_l".length));
      const over = t.shape[0] === 1 && scaled(site, t.shape) === "in" ? "in" : "out";
      expectShape(name, t, over === "in" ? [1, site.weight!.in] : [site.weight!.out, 1]);
      tensors[nameOf(site)] = t;
      paths[over].push(site.path);
    }
    if (paths.out.length + paths.in.length === 0) throw new LfmError("FILE_FORMAT", "[@lfm/tuning] the adapter holds no ia3_l");
    return { config: { ...(paths.out.length > 0 ? { targetModules: paths.out } : {}), feedforwardModules: paths.in }, tensors, parameters };
  },
};

export const ia3 = defineTuning({
  id: "ia3",
  summary: "Learns to rescale keys, values and the MLP's inner activations; the base stays frozen.",
  paper: {
    title: "Few-Shot Parameter-Efficient Fine-Tuning is Better and Cheaper than In-Context Learning",
    arxiv: "2205.05638",
    year: 2022,
    survey: "3.1 weight engineering",
  },
  config,
  delta: { hooks: (_c, tensors) => scalingHooks(tensors), weights: (_c, tensors) => scaledWeights(tensors) },
  peft,
  training: (c) => c,
  start: ({ model }, c) => {
    const learned: Record<string, HostTensor> = {};
    const inputs = targetSites(model, c.feedforwardModules);
    for (const site of targetSites(model, c.targetModules, ["parts"])) {
      const roles = learnedRoles(site, c);
      for (const role of roles) learned[partName(site, role)] = ones([sizeOfRole(site, role), 1]);
      if (roles.length === 0 && !inputs.includes(site)) learned[nameOf(site)] = ones([site.weight!.out, 1]);
    }
    for (const site of inputs) learned[nameOf(site)] = ones([1, site.weight!.in]);
    return { learned };
  },
  express: (_c, learned, { info }) => {
    const out: Record<string, Tensor> = {};
    const expressed = new Set<string>();
    for (const site of info.sites) {
      const roles = rolesOf(partsOf(site)).filter((role) => partName(site, role) in learned);
      if (roles.length === 0) continue;
      const values = Object.fromEntries(roles.map((role) => [role, reshape(learned[partName(site, role)]!, [sizeOfRole(site, role)])]));
      for (const role of roles) expressed.add(partName(site, role));
      out[nameOf(site)] = reshape(overParts(site, values, 1), [site.weight!.out, 1]);
    }
    return { ...Object.fromEntries(Object.entries(learned).filter(([name]) => !expressed.has(name))), ...out };
  },
  begin: (c, tensors, model) => {
    const out = { ...tensors };
    for (const site of targetSites(model, c.targetModules, ["parts"])) {
      const roles = learnedRoles(site, c);
      const parts = partsOf(site).filter((p) => roles.includes(p.role));
      const whole = tensors[nameOf(site)];
      // What other parts have learned would be lost: such a delta was made with other options.
      if (parts.length === 0 || whole?.data.length !== site.weight!.out) continue;
      const within = (i: number): boolean => parts.some((p) => i >= p.offset && i < p.offset + p.size);
      if (!whole.data.every((v, i) => within(i) || Number(v) === 1)) continue;
      delete out[nameOf(site)];
      for (const role of roles) {
        const own = parts.filter((p) => p.role === role);
        const values = own.flatMap(({ offset, size }) => Array.from(whole.data.slice(offset, offset + size), Number));
        out[partName(site, role)] = f32(values, [values.length, 1]);
      }
    }
    return out;
  },
});
