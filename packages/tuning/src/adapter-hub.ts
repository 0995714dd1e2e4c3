/** Bottleneck adapters, Compacter and AdapterFusion in the folders of the library `adapters` (AdapterHub), both ways. */
import { type Delta, type HostTensor, LfmError, type Model, makeDelta, parseConfig } from "@lfm/core";
import { type HubAdapter, type HubBottleneck, namedRecord, readHubAdapter, readHubHead, writeHubPart } from "@lfm/formats";
import { activationName, isHeadParameter } from "@lfm/models";
import { hasHubModules, hubModules, hubParts, hubSite, hubTensor } from "./adapter-hub-names.js";
import { adapterShapes, adapterTensor, type BottleneckPlacement, bottleneckSites, type PhmSizes } from "./bottleneck-sites.js";
import { fromHubHead, toHubHead } from "./hub-heads.js";
import { bottleneck } from "./methods/bottleneck.js";
import { compacter, PHM_RULE } from "./methods/compacter.js";
import { expectShape } from "./peft-form.js";

/** Options that change what an adapter does and that have no delta here, with the value that does nothing. */
const inert: Readonly<Record<string, readonly unknown[]>> = {
  use_gating: [false],
  inv_adapter: [null, undefined],
  factorized_phm_W: [true, null],
  shared_W_phm: [false, null],
  shared_phm_rule: [true, null],
  factorized_phm_rule: [false, null],
  learn_phm: [true, null],
  phm_bias: [true, null],
};

/** Options that say how Kronecker products are made: nothing where there are none. */
const ofPhm: ReadonlySet<string> = new Set([
  "factorized_phm_W",
  "shared_W_phm",
  "shared_phm_rule",
  "factorized_phm_rule",
  "learn_phm",
  "phm_bias",
]);

/**
 * The delta of an adapter that the library saved, with the head that lies beside it. Every tensor becomes part of it or is refused by name.
 * @throws {LfmError} OP_UNSUPPORTED for options that have no delta here; PARAM_NOT_FOUND, SHAPE_MISMATCH for an adapter of another model;
 *   FILE_IO, FILE_FORMAT
 */
export function fromAdapterHub(folder: string, model: Model, options: { readonly parent?: string } = {}): Delta {
  const adapter = readHubAdapter(folder);
  const { config } = adapter;
  requireInert(folder, config);
  const own = tensorsOf(folder, adapter, model);
  const head = readHubHead(folder);
  const tensors = { ...own, ...(head ? fromHubHead(folder, head, model) : {}) };
  if (config.phm_layer) {
    const c = parseConfig(compacter, optionsOf(folder, config));
    requireTensors(folder, own, c, model, c);
    return makeDelta(compacter, c, tensors, options);
  }
  const c = parseConfig(bottleneck, optionsOf(folder, config));
  requireTensors(folder, own, c, model);
  return makeDelta(bottleneck, c, tensors, options);
}

export interface ToAdapterHubOptions {
  /** Name of the adapter in the library. */
  readonly name: string;
  /** Name or path of the base. */
  readonly base?: string;
  /** Names of a classifier's classes. */
  readonly labels?: readonly string[];
}

/** Whether {@link toAdapterHub} has a form for a delta on this model. */
export function hasHubForm(delta: Delta, model: Model): boolean {
  const replaced = Object.keys(delta.tensors).filter((name) => Object.hasOwn(model.info.params, name));
  const known = delta.method === "tuning/bottleneck" || delta.method === "tuning/compacter";
  return known && hasHubModules(model.info) && replaced.every(isHeadParameter);
}

/**
 * Saves a delta as the library does: `model.load_adapter(folder)` loads it, with the head of a classifier beside it.
 * @param delta one that {@link hasHubForm} knows
 * @throws {LfmError} FILE_IO
 */
export async function toAdapterHub(folder: string, delta: Delta, model: Model, options: ToAdapterHubOptions): Promise<void> {
  const { info } = model;
  const isPhm = delta.method === "tuning/compacter";
  const own = isPhm
    ? { ...parseConfig(compacter, delta.config), initWeights: "bert" as const }
    : { ...parseConfig(bottleneck, delta.config), phmDim: 4, phmRank: 1, phmInitRange: 1e-4 };
  const paths = [...hubModules(model)];
  const tensors = namedRecord<HostTensor>();
  const head = namedRecord<HostTensor>();
  for (const [name, t] of Object.entries(delta.tensors)) {
    if (Object.hasOwn(info.params, name)) head[name] = t;
    else if (name === PHM_RULE) tensors[`${sharedPrefix(model)}shared_parameters.${options.name}.phm_rule`] = t;
    else {
      const found = paths.flatMap(([path, site]) =>
        Object.entries(hubParts(own.lnBefore, isPhm)).flatMap(([theirs, ours]) =>
          adapterTensor(site, ours) === name ? [`${path}.adapters.${options.name}.${theirs}`] : [],
        ),
      )[0]!;
      tensors[found] = t;
      // The library registers this norm twice.
      if (found.includes(".adapter_norm_before.")) tensors[found.replace(".adapter_norm_before.", ".adapter_down.0.")] = t;
    }
  }
  const around = { name: options.name, model_type: info.architecture, model_name: options.base ?? null, hidden_size: info.hiddenSize };
  await writeHubPart(folder, "adapter", { ...around, model_class: classOf(model), config: hubOptions(own, isPhm) }, tensors, FLOATS);
  if (Object.keys(head).length > 0) await toHubHead(folder, head, model, { ...around, labels: options.labels });
}

/** The library tells a constant scale from a learned one by its type. */
const FLOATS: ReadonlySet<string> = new Set(["scaling", "dropout", "stochastic_depth"]);

/** @throws {LfmError} OP_UNSUPPORTED */
function requireInert(folder: string, config: HubBottleneck): void {
  for (const [key, idle] of Object.entries(inert)) {
    if (ofPhm.has(key) && !config.phm_layer) continue;
    const value = config[key];
    if (!idle.includes(value))
      throw new LfmError("OP_UNSUPPORTED", `[@lfm/tuning] ${folder}: adapters with ${key} ${JSON.stringify(value)} have no delta here`);
  }
  if (typeof config.reduction_factor !== "number")
    throw new LfmError("OP_UNSUPPORTED", `[@lfm/tuning] ${folder}: a reduction_factor for each layer has no delta here`);
  if (!activationName.safeParse(config.non_linearity).success)
    throw new LfmError("OP_UNSUPPORTED", `[@lfm/tuning] ${folder}: the activation ${config.non_linearity} is not known here`);
}

/** Options of the method out of the library's. */
function optionsOf(folder: string, c: HubBottleneck): Record<string, unknown> {
  const places = [
    ...(c.mh_adapter ? ["attention"] : []),
    ...(c.cross_adapter ? ["cross-attention"] : []),
    ...(c.output_adapter ? ["mlp"] : []),
  ];
  const before = c.original_ln_before && !c.is_parallel;
  if (c.residual_before_ln === "post_add" && !before)
    throw new LfmError(
      "OP_UNSUPPORTED",
      `[@lfm/tuning] ${folder}: residual_before_ln "post_add" without original_ln_before is nothing that can be computed`,
    );
  const init = { bert: "bert", houlsby: "houlsby", mam_adapter: "mam" }[c.init_weights];
  return {
    places,
    leaveOut: c.leave_out,
    reductionFactor: c.reduction_factor,
    activation: c.non_linearity,
    reads: c.is_parallel ? "stream" : before ? "sum" : "part",
    residual: !before || c.residual_before_ln === true ? "part" : c.residual_before_ln === false ? "normed" : "sum",
    blockResidual: c.original_ln_after,
    ...(typeof c.scaling === "number" ? { scaling: c.scaling } : { learnedScaling: c.scaling === "learned" ? "scalar" : "channel" }),
    lnBefore: c.ln_before,
    lnAfter: c.ln_after,
    residualBeforeLn: c.adapter_residual_before_ln,
    adapterDropout: c.dropout,
    ...(c.phm_layer
      ? { phmDim: c.phm_dim, phmRank: c.phm_rank ?? 1, phmInitRange: c.phm_init_range ?? 1e-4 }
      : init
        ? { initWeights: init }
        : {}),
  };
}

type HubOptions = BottleneckPlacement & PhmSizes & { readonly phmInitRange: number; readonly initWeights: "bert" | "houlsby" | "mam" };

/** The library's options out of the method's. */
function hubOptions(c: HubOptions, isPhm: boolean): Record<string, unknown> {
  const init = { bert: "bert", houlsby: "houlsby", mam: "mam_adapter" }[c.initWeights];
  return {
    mh_adapter: c.places.includes("attention"),
    output_adapter: c.places.includes("mlp"),
    cross_adapter: c.places.includes("cross-attention"),
    reduction_factor: c.reductionFactor,
    non_linearity: c.activation,
    original_ln_before: c.reads === "sum",
    original_ln_after: c.blockResidual,
    ln_before: c.lnBefore,
    ln_after: c.lnAfter,
    init_weights: init,
    init_weights_seed: null,
    is_parallel: c.reads === "stream",
    scaling: c.learnedScaling === "none" ? c.scaling : c.learnedScaling === "scalar" ? "learned" : "channel",
    use_gating: false,
    residual_before_ln: c.residual === "part" ? true : c.residual === "normed" ? false : "post_add",
    adapter_residual_before_ln: c.residualBeforeLn,
    inv_adapter: null,
    inv_adapter_reduction_factor: null,
    leave_out: c.leaveOut,
    dropout: c.adapterDropout,
    phm_layer: isPhm,
    phm_dim: c.phmDim,
    factorized_phm_W: true,
    shared_W_phm: false,
    shared_phm_rule: true,
    factorized_phm_rule: false,
    phm_c_init: "normal",
    phm_init_range: c.phmInitRange,
    learn_phm: true,
    hypercomplex_nonlinearity: "glorot-uniform",
    phm_rank: c.phmRank,
    phm_bias: true,
    stochastic_depth: 0,
  };
}

/** The tensors of an adapter under our names. @throws {LfmError} PARAM_NOT_FOUND, SHAPE_MISMATCH, OP_UNSUPPORTED */
function tensorsOf(folder: string, { config, tensors }: HubAdapter, model: Model): Record<string, HostTensor> {
  const [paths, parts] = [hubModules(model), hubParts(config.ln_before, config.phm_layer)];
  const own = namedRecord<HostTensor>();
  for (const [name, t] of Object.entries(tensors)) {
    if (/(^|\.)shared_parameters\.[^.]+\.phm_rule$/.test(name)) {
      own[PHM_RULE] = t;
      continue;
    }
    const found = hubTensor(name, "adapters");
    if (found && config.ln_before && found.part.startsWith("adapter_down.0.")) continue;
    const site = found && hubSite(paths, found.path);
    if (!site)
      throw new LfmError("PARAM_NOT_FOUND", `[@lfm/tuning] ${folder}: the model has no place for "${name}"`, {
        hint: `adapters of ${model.info.architecture} stand at ${[...paths.keys()][0]} and its like`,
      });
    const ours = Object.hasOwn(parts, found.part) ? parts[found.part] : undefined;
    if (ours === undefined) throw new LfmError("OP_UNSUPPORTED", `[@lfm/tuning] ${folder}: "${name}" has no part in a delta here`);
    own[adapterTensor(site, ours)] = t;
  }
  return own;
}

/** Every adapter has the tensors that its options make, and no others. @throws {LfmError} SHAPE_MISMATCH, FILE_FORMAT, OP_UNSUPPORTED */
function requireTensors(
  folder: string,
  own: Readonly<Record<string, HostTensor>>,
  c: BottleneckPlacement,
  model: Model,
  phm?: PhmSizes,
): void {
  const expected = new Map<string, readonly number[]>(phm ? [[PHM_RULE, [phm.phmDim, phm.phmDim, phm.phmDim]]] : []);
  for (const site of bottleneckSites(model, c))
    for (const [part, shape] of Object.entries(adapterShapes(c, model.info.hiddenSize, phm)))
      expected.set(adapterTensor(site, part), shape);
  for (const [name, shape] of expected) {
    const t = own[name];
    if (!t)
      throw new LfmError("FILE_FORMAT", `[@lfm/tuning] ${folder}: the adapter has no tensor for "${name}", which its options ask for`);
    expectShape(name, t, shape);
  }
  const stray = Object.keys(own).find((name) => !expected.has(name));
  if (stray !== undefined)
    throw new LfmError("OP_UNSUPPORTED", `[@lfm/tuning] ${folder}: the adapter has a tensor for "${stray}", which its options do not know`);
}

/** What tensors of the whole model have in front. */
function sharedPrefix({ info }: Model): string {
  const [first] = hubModules({ info }).keys();
  const top = first!.split(".")[0]!;
  return top === "encoder" ? "" : `${top}.`;
}

/** transformers' class of the model as the library knows it. */
function classOf({ info }: Model): string | null {
  const { architectures } = info.config as { readonly architectures?: readonly string[] | null };
  return architectures?.[0] ?? null;
}
