/** AdapterFusion in setup folders of the library `adapters`: the fused adapters, the fusion and the head each in files of their own. */
import { join } from "node:path";
import {
  type Delta,
  type HostTensor,
  isMemberTensor,
  LfmError,
  type Model,
  makeDelta,
  ofPlace,
  parseConfig,
  tracedTensors,
} from "@lfm/core";
import { type HubFusion, namedRecord, readHubFusion, readHubHead, readHubSetup, writeHubPart, writeHubSetup } from "@lfm/formats";
import { isHeadParameter } from "@lfm/models";
import { fromAdapterHub, type ToAdapterHubOptions, toAdapterHub } from "./adapter-hub.js";
import { hubModules, hubSite, hubTensor } from "./adapter-hub-names.js";
import { isBottleneckHook } from "./bottleneck-sites.js";
import { fromHubHead, toHubHead } from "./hub-heads.js";
import { adapterFusion, fusionNames, fusionTensor } from "./methods/adapter-fusion.js";
import { tuningMethods } from "./methods/index.js";
import { expectShape } from "./peft-form.js";

/** Options of a fusion that change what it does, with the values that are known here. */
const known: Readonly<Partial<Record<keyof HubFusion, unknown>>> = {
  key: true,
  query: true,
  query_before_ln: false,
  residual_before: false,
  temperature: false,
  value_before_softmax: true,
};

/**
 * The delta of a fusion with its members, and the head beside them.
 * @throws {LfmError} OP_UNSUPPORTED for options that have no delta here; PARAM_NOT_FOUND, SHAPE_MISMATCH, FILE_IO, FILE_FORMAT
 */
export function fromHubSetup(folder: string, model: Model, options: { readonly parent?: string } = {}): Delta {
  const names = readHubSetup(folder);
  const { config, tensors } = readHubFusion(join(folder, names.join(",")));
  const stray = Object.entries(known).find(([key, value]) => config[key] !== value);
  if (stray)
    throw new LfmError(
      "OP_UNSUPPORTED",
      `[@lfm/tuning] ${folder}: fusions with ${stray[0]} ${JSON.stringify(config[stray[0]])} have no delta here`,
    );
  const members = names.map((name) => withoutHead(fromAdapterHub(join(folder, name), model)));
  const own = fusionTensors(folder, tensors, config.value, model);
  requirePlaces(folder, own, members[0]!, config.value, model);
  const head = readHubHead(folder);
  const c = parseConfig(adapterFusion, {
    value: config.value,
    valueDecay: config.regularization ? 0.01 : 0,
    attentionDropout: config.dropout_prob ?? 0,
  });
  return makeDelta(adapterFusion, c, { ...own, ...(head ? fromHubHead(folder, head, model) : {}) }, { ...options, members });
}

/** What a fusion is composed of, as deltas of their own. */
export function membersOf(delta: Delta): readonly Delta[] {
  return delta.members.map(({ method, config }, i) => {
    const form = tuningMethods.find((m) => `${m.paradigm}/${m.id}` === method);
    if (!form) throw new LfmError("CONFIG_INVALID", `[@lfm/tuning] nothing is known of ${method}, which is fused`);
    return makeDelta(form, config, ofPlace(delta.tensors, i));
  });
}

/** Saves a fusion as `model.save_adapter_setup` does. @param options `name` is that of the members, with their numbers behind it */
export async function toHubSetup(folder: string, delta: Delta, model: Model, options: ToAdapterHubOptions): Promise<void> {
  const c = parseConfig(adapterFusion, delta.config);
  const names = delta.members.map((_, i) => `${options.name}${i + 1}`);
  for (const [i, member] of membersOf(delta).entries())
    await toAdapterHub(join(folder, names[i]!), member, model, { ...options, name: names[i]! });
  const [fused, head] = [namedRecord<HostTensor>(), namedRecord<HostTensor>()];
  for (const [name, t] of Object.entries(delta.tensors)) if (!isMemberTensor(name) && isHeadParameter(name)) head[name] = t;
  for (const [path, site] of hubModules(model))
    for (const name of fusionNames(c)) {
      const t = delta.tensors[fusionTensor(site, name)];
      if (t) fused[`${path}.adapter_fusion_layer.${names.join(",")}.${name}`] = t;
    }
  const around = { model_type: model.info.architecture, model_name: options.base ?? null, hidden_size: model.info.hiddenSize };
  const config = {
    key: true,
    query: true,
    value: c.value,
    query_before_ln: false,
    regularization: c.valueDecay > 0,
    residual_before: false,
    temperature: false,
    value_before_softmax: true,
    value_initialized: c.value,
    dropout_prob: c.attentionDropout,
  };
  await writeHubPart(join(folder, names.join(",")), "fusion", { ...around, name: names.join(","), adapter_names: names, config }, fused);
  const withHead = Object.keys(head).length > 0;
  if (withHead) await toHubHead(folder, head, model, { ...around, labels: options.labels });
  writeHubSetup(folder, names, withHead);
}

/** Adapters are saved with the head of their own task: a fusion has another. */
function withoutHead(delta: Delta): Delta {
  return { ...delta, tensors: Object.fromEntries(Object.entries(delta.tensors).filter(([name]) => !isHeadParameter(name))) };
}

/** @throws {LfmError} PARAM_NOT_FOUND, OP_UNSUPPORTED, SHAPE_MISMATCH */
function fusionTensors(
  folder: string,
  tensors: Readonly<Record<string, HostTensor>>,
  value: boolean,
  model: Model,
): Record<string, HostTensor> {
  const paths = hubModules(model);
  const own = namedRecord<HostTensor>();
  for (const [name, t] of Object.entries(tensors)) {
    const found = hubTensor(name, "adapter_fusion_layer");
    const site = found && hubSite(paths, found.path);
    if (!site) throw new LfmError("PARAM_NOT_FOUND", `[@lfm/tuning] ${folder}: the model has no place for "${name}"`);
    const part = fusionNames({ value }).find((known) => known === found.part);
    if (!part) throw new LfmError("OP_UNSUPPORTED", `[@lfm/tuning] ${folder}: "${name}" has no part in a delta here`);
    const n = model.info.hiddenSize;
    expectShape(name, t, part.endsWith(".bias") ? [n] : [n, n]);
    own[fusionTensor(site, part)] = t;
  }
  return own;
}

/** A fusion stands where its members do. @throws {LfmError} FILE_FORMAT */
function requirePlaces(folder: string, own: Readonly<Record<string, HostTensor>>, member: Delta, value: boolean, model: Model): void {
  const hook = member.hooks(tracedTensors(member)).find(isBottleneckHook)!;
  for (const site of model.info.sites.filter((s) => hook.matches(s)))
    for (const name of fusionNames({ value }))
      if (!(fusionTensor(site, name) in own))
        throw new LfmError("FILE_FORMAT", `[@lfm/tuning] ${folder}: the fusion has no tensor for "${fusionTensor(site, name)}"`);
}
