import { type Delta, type HostTensor, LfmError, type Model, nearestName, type Site } from "@lfm/core";
import { namedRecord, type PeftAdapter, type PeftConfigInput, parameterName, type TokenRows } from "@lfm/formats";

/** What PEFT keeps of a delta besides what all adapters have (kind of task, name of the base, modules saved in full). */
export interface PeftParts {
  readonly options: Readonly<Record<string, unknown>>;
  /** By module path and PEFT's name: `model.layers.0.self_attn.q_proj.lora_A.weight`. */
  readonly tensors: Readonly<Record<string, HostTensor>>;
}

/** How a method's deltas are written down by PEFT: stands in the method's own file. */
export interface PeftForm<C> {
  /** PEFT's name of the kind of adapter. */
  readonly type: PeftConfigInput["peft_type"];
  /** Other kinds whose files become deltas of the method. */
  readonly alsoReads?: readonly PeftConfigInput["peft_type"][];
  /** Parameters of the base that the form has a place of its own for, instead of saving their module in full. */
  holds?(name: string, model: Model): boolean;
  /** Why PEFT cannot take this delta, where it cannot: what is in the way, and what helps. */
  refusal?(delta: Delta, model: Model): { readonly what: string; readonly hint: string } | undefined;
  /**
   * @param own tensors of the delta that are not parameters of the base, and those that the form holds
   * @param stored the name that a path of ours has in transformers' class
   */
  write(config: C, own: Readonly<Record<string, HostTensor>>, model: Model, stored: (path: string) => string): PeftParts;
  /**
   * Absent where another method reads what this one writes.
   * @returns options of the method (missing ones take their defaults), its tensors, and what the adapter trained in full, by checkpoint name
   * @throws {LfmError} OP_UNSUPPORTED for options that have no delta here; PARENT_MISMATCH, SHAPE_MISMATCH for an adapter of another model
   */
  read?(
    adapter: PeftAdapter,
    model: Model,
  ): {
    readonly config: Partial<C>;
    readonly tensors: Readonly<Record<string, HostTensor>>;
    readonly parameters: Readonly<Record<string, HostTensor>>;
    /** Rows of embeddings that it has values of its own for, by module path. */
    readonly rows?: Readonly<Record<string, TokenRows>>;
  };
}

/** What an adapter may stand on. */
type Place = "linear" | "embedding" | "norm" | "conv";

function isPlace(site: Site, place: Place): boolean {
  if (place === "norm" || place === "conv") return site.kind === place;
  return site.weight !== undefined && (site.kind === "embedding") === (place === "embedding");
}

/**
 * PEFT names modules of the whole model; an encoder of ours may be that model without its outermost name (`bert.`).
 * @param places what the adapter may change
 * @throws {LfmError} PARAM_NOT_FOUND
 */
export function siteOf(model: Model, path: string, ...places: readonly Place[]): Site {
  const among: readonly Place[] = places.length > 0 ? places : ["linear"];
  const all = model.info.sites.filter((s) => among.some((place) => isPlace(s, place)));
  const found = all.find((s) => s.path === path) ?? all.find((s) => path.endsWith(`.${s.path}`) || s.path.endsWith(`.${path}`));
  if (found) return found;
  const near = nearestName(
    path,
    all.map((s) => s.path),
  );
  const what = among[0] === "linear" || among[0] === "conv" ? "layer" : among[0];
  throw new LfmError(
    "PARAM_NOT_FOUND",
    `[@lfm/tuning] the model has no ${what} "${path}", which the adapter changes`,
    near ? { hint: `did you mean "${near}"?` } : {},
  );
}

/** The tensors of an adapter by what they are. */
export interface SiteTensors {
  /** By the path of our site and PEFT's name of the part. */
  readonly tensors: Readonly<Record<string, HostTensor>>;
  readonly sites: readonly Site[];
  /** What was trained in full, by checkpoint name. */
  readonly parameters: Readonly<Record<string, HostTensor>>;
}

/**
 * Sorts an adapter's tensors: those called PATH.PART for one of the parts are of the layer there, the rest was trained in full.
 * @throws {LfmError} PARAM_NOT_FOUND for a layer that the model has not; FILE_FORMAT where nothing is of any layer
 */
export function siteTensors(adapter: PeftAdapter, model: Model, parts: readonly string[], ...places: readonly Place[]): SiteTensors {
  const [tensors, parameters] = [namedRecord<HostTensor>(), namedRecord<HostTensor>()];
  const sites = new Set<Site>();
  for (const [name, t] of Object.entries(adapter.tensors)) {
    const part = parts.find((p) => name.endsWith(`.${p}`));
    if (part === undefined) {
      parameters[parameterName(name)] = t;
      continue;
    }
    const site = siteOf(model, name.slice(0, -part.length - 1), ...places);
    tensors[`${site.path}.${part}`] = t;
    sites.add(site);
  }
  if (sites.size === 0) throw new LfmError("FILE_FORMAT", `[@lfm/tuning] the adapter holds no ${parts.join(" or ")}`);
  return { tensors, sites: [...sites], parameters };
}

/** Holds the tensors of a layer to the shapes that its options give. @throws {LfmError} FILE_FORMAT for one that is missing, SHAPE_MISMATCH */
export function expectShapes(
  tensors: Readonly<Record<string, HostTensor>>,
  path: string,
  shapes: Readonly<Record<string, readonly number[]>>,
): void {
  for (const [part, shape] of Object.entries(shapes)) {
    const t = tensors[`${path}.${part}`];
    if (!t) throw new LfmError("FILE_FORMAT", `[@lfm/tuning] the adapter has no ${part} for "${path}"`);
    expectShape(`${path}.${part}`, t, shape);
  }
}

/** What PEFT's options say of the layers that tensors called PATH.PART stand on. */
export function layerOptions(
  own: Readonly<Record<string, HostTensor>>,
  part: string,
  model: Model,
): { target_modules: string[]; fan_in_fan_out: boolean } {
  const sites = model.info.sites.filter((site) => `${site.path}.${part}` in own);
  return {
    target_modules: sites.map((s) => s.path),
    fan_in_fan_out: sites.some((s) => s.kind !== "embedding" && s.weight?.layout === "in-out"),
  };
}

/** What can be done with an adapter that was trained with more tokens than the model has. */
export const otherSize = "lfm merge passthrough --model BASE+ADAPTER FOLDER writes a model of the adapter's size";

/** @throws {LfmError} SHAPE_MISMATCH */
export function expectShape(name: string, t: HostTensor, shape: readonly number[], hint?: string): void {
  if (t.shape.join() !== shape.join())
    throw new LfmError(
      "SHAPE_MISMATCH",
      `[@lfm/tuning] the adapter's "${name}" is [${t.shape}], this model needs [${shape}]`,
      hint ? { hint } : {},
    );
}
