import { compile } from "./compile.js";
import { type Delta, tracedTensors } from "./delta.js";
import type { HostTensor } from "./dtype.js";
import type { Engine } from "./engines/engine.js";
import { loadWeight } from "./engines/reference.js";
import { LfmError } from "./errors.js";
import { hookBias, hookWeight } from "./hooks.js";
import type { Model, ParamTree } from "./model.js";
import { cast } from "./ops/elementwise.js";
import type { Site } from "./site.js";
import { widenToF32 } from "./small-floats.js";
import type { Tensor } from "./tensor.js";

/**
 * What deltas make of the weights, multiplied out: f32 parameters by checkpoint name, those alone that change. With them the plain model
 * answers as the base with the deltas on it, and lfm is no longer needed to read it.
 * @param deltas in the order in which they lie on the model
 * @throws {LfmError} CAPABILITY_MISSING for a delta that changes more than weights, or a weight that two layers share and that it makes two of
 */
export async function plainWeights(engine: Engine, model: Model, deltas: readonly Delta[]): Promise<Record<string, HostTensor>> {
  const changed: Record<string, HostTensor> = {};
  for (const delta of deltas) {
    for (const [name, t] of Object.entries(delta.tensors)) if (Object.hasOwn(model.params, name)) changed[name] = widenToF32(t);
    const now = { ...model, params: { ...model.params, ...changed } };
    Object.assign(changed, await multipliedOut(engine, now, delta));
  }
  return changed;
}

/** Whether {@link plainWeights} has a form for a delta on this model. */
export function isPlain(model: Model, delta: Delta): boolean {
  return strayHook(model, delta) === undefined;
}

/** A parameter of a model before and after a delta, traced. */
export interface ChangedWeight {
  readonly name: string;
  readonly before: Tensor;
  readonly after: Tensor;
}

/**
 * Traced: every parameter that a delta replaces, and every weight and bias that it changes at a site; one that two sites share stands there once
 * for each that changes it.
 * @param tensors those of the delta; @param params those of the model, as they are without it
 * @throws {LfmError} CAPABILITY_MISSING for a delta that changes more than weights
 */
export function changedWeights(model: Model, delta: Delta, tensors: ParamTree, params: ParamTree): readonly ChangedWeight[] {
  requirePlain(model, delta);
  const hooks = delta.weightHooks(tensors);
  const found: ChangedWeight[] = [];
  const base = (name: string): Tensor => cast(params[name]!, "f32");
  const hooked = new Set<string>();
  for (const site of model.info.sites)
    for (const [name, part, apply] of hookedParts(site)) {
      if (!hooks.some((h) => h[part] && h.matches(site))) continue;
      hooked.add(name);
      found.push({ name, before: base(name), after: apply(tensors[name] ?? base(name), site, { mode: "eval", hooks }) });
    }
  const replaced = Object.keys(tensors).filter((name) => Object.hasOwn(model.info.params, name) && !hooked.has(name));
  return [...found, ...replaced.map((name) => ({ name, before: base(name), after: tensors[name]! }))];
}

/** @throws {LfmError} CAPABILITY_MISSING */
function requirePlain(model: Model, delta: Delta): void {
  const stray = strayHook(model, delta);
  if (stray)
    throw new LfmError("CAPABILITY_MISSING", `[@lfm/core] what ${delta.method} does at "${stray.path}" is no change of weights`, {
      hint: "deltas of lora, ia3, full and the editors that change weights can be merged; the others stay deltas",
    });
}

async function multipliedOut(engine: Engine, model: Model, delta: Delta): Promise<Record<string, HostTensor>> {
  requirePlain(model, delta);
  const hooks = delta.weightHooks(tracedTensors(delta));
  const out: Record<string, HostTensor> = {};
  const done = new Map<string, { readonly site: Site; readonly value: HostTensor | undefined }>();
  for (const site of model.info.sites) {
    for (const [name, part, apply] of hookedParts(site)) {
      const value = hooks.some((h) => h[part] && h.matches(site))
        ? await changedWeight(engine, model, delta, name, (w, tensors) =>
            apply(w, site, { mode: "eval", hooks: delta.weightHooks(tensors) }),
          )
        : undefined;
      const other = done.get(name);
      if (other && (other.value || value) && !sameValues(other.value ?? asItIs(model, name), value ?? asItIs(model, name)))
        throw new LfmError(
          "CAPABILITY_MISSING",
          `[@lfm/core] "${site.path}" and "${other.site.path}" share the weight "${name}", and ${delta.method} makes two of it`,
          {
            hint: "an adapter of PEFT becomes a model with both: lfm merge passthrough --model BASE+ADAPTER OUT; or leave one of the layers out",
          },
        );
      done.set(name, { site, value });
      if (value) out[name] = value;
    }
  }
  return out;
}

/** The parameters that weight and bias hooks of a site change: of linear layers, embeddings and convolutions. */
function weightOf({ kind, weight, params }: Site): { readonly weight: string; readonly bias?: string | undefined } | undefined {
  if (weight) return { weight: weight.name, bias: weight.bias };
  return kind === "conv" && params?.weight !== undefined ? { weight: params.weight, bias: params.bias } : undefined;
}

function hookedParts(site: Site): readonly (readonly [string, "weight" | "bias", typeof hookWeight])[] {
  const own = weightOf(site);
  if (!own) return [];
  return [[own.weight, "weight", hookWeight], ...(own.bias === undefined ? [] : [[own.bias, "bias", hookBias] as const])];
}

function asItIs(model: Model, name: string): HostTensor {
  return widenToF32(loadWeight(model.params[name]!));
}

function sameValues(a: HostTensor, b: HostTensor): boolean {
  return a === b || (a.data.length === b.data.length && a.data.every((v, i) => v === b.data[i]));
}

async function changedWeight(
  engine: Engine,
  model: Model,
  delta: Delta,
  name: string,
  change: (w: Tensor, tensors: ParamTree) => Tensor,
): Promise<HostTensor> {
  const { shape } = model.info.params[name]!;
  const f = await compile(engine, { w: { dtype: "f32", shape } }, ({ w }, tensors: ParamTree) => ({ w: change(w, asF32(tensors)) }), {
    frozen: delta.tensors,
  });
  try {
    return (await f({ w: asItIs(model, name) })).w;
  } finally {
    await f.dispose();
  }
}

function asF32(tensors: ParamTree): ParamTree {
  return Object.fromEntries(
    Object.entries(tensors).map(([name, t]) => [name, t.dtype === "bf16" || t.dtype === "f16" ? cast(t, "f32") : t]),
  );
}

/** The first site where the delta does something that no weight can hold. */
function strayHook(model: Model, delta: Delta): Site | undefined {
  const hooks = delta.weightHooks(tracedTensors(delta)).filter((h) => h.input || h.output || h.sequence || h.kv);
  return model.info.sites.find((site) => hooks.some((h) => h.matches(site)));
}
