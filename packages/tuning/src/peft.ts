import { join } from "node:path";
import { type Delta, type HostTensor, LfmError, type Model, makeDelta, parseConfig } from "@lfm/core";
import { namedRecord, type PeftConfigInput, peftTaskType, readPeftAdapter, writePeftAdapter, writeTextFile } from "@lfm/formats";
import { hasHubClass, storedName } from "@lfm/models";
import type { AnyTuningMethod } from "./define-tuning.js";
import { isParameterOf } from "./lora-peft.js";
import { tuningMethods } from "./methods/index.js";
import { ownWeight } from "./own-weights.js";
import { replacedTensors } from "./peft-parameters.js";
import { peftRecipe } from "./peft-recipe.js";
import { PROMPT_TENSOR } from "./prompt-form.js";

export interface ToPeftOptions {
  /** Name or path of the base, written as `base_model_name_or_path`. */
  readonly base?: string;
  /** Names of a classifier's classes, which PEFT has no place for: they stand in the README beside the adapter. */
  readonly labels?: readonly string[];
}

/**
 * Whether `toPeft` has a form for a delta on this model: its kind is known to PEFT, so is what it trained in full beside it, and transformers has
 * a class for the model.
 */
export function hasPeftForm(delta: Delta, model: Model): boolean {
  const form = methodOf(delta)?.peft;
  if (form === undefined || !hasHubClass(model.info) || form.refusal?.(delta, model)) return false;
  return !standsInFront(form.type) || modulesToSave(delta, model).length === 0;
}

/** PEFT's classifiers read the first vector of such a prompt, where ours read the text's first token. */
function standsInFront(type: PeftConfigInput["peft_type"]): boolean {
  return type === "PROMPT_TUNING" || type === "P_TUNING";
}

/**
 * Saves a delta as PEFT does: `PeftModel.from_pretrained(base, folder)` loads it. Parameters that learned in full stand under `modules_to_save`;
 * the encoder of a classifier has the names that transformers' class has for it. A classifier gets a README that says how it is loaded.
 * @throws {LfmError} CONFIG_INVALID for deltas that have no form in PEFT; FILE_IO
 */
export async function toPeft(folder: string, delta: Delta, model: Model, options: ToPeftOptions = {}): Promise<void> {
  const form = methodOf(delta)?.peft;
  if (!form) {
    const known = tuningMethods.flatMap((m) => (m.peft ? [m.id] : []));
    throw new LfmError("CONFIG_INVALID", `[@lfm/tuning] ${delta.method} has no form in PEFT`, { hint: `${known.join(", ")} have` });
  }
  if (!hasHubClass(model.info))
    throw new LfmError(
      "CONFIG_INVALID",
      `[@lfm/tuning] transformers has no ${model.info.architecture} with this head, so PEFT cannot load it`,
    );
  const refusal = form.refusal?.(delta, model);
  if (refusal)
    throw new LfmError("CONFIG_INVALID", `[@lfm/tuning] ${delta.method} of ${refusal.what} has no form in PEFT`, { hint: refusal.hint });
  if (!hasPeftForm(delta, model))
    throw new LfmError("CONFIG_INVALID", `[@lfm/tuning] ${delta.method} with other trained parameters has no form in PEFT`);
  const [own, parameters] = parted(delta, model);
  const stored = (name: string): string => storedName(name, model.info);
  const parts = form.write(delta.config, own, model, stored);
  const modules = modulesToSave(delta, model);
  const named = (value: unknown): unknown => (Array.isArray(value) ? value.map((name) => stored(String(name))) : value);
  const { target_modules: targets, feedforward_modules: feedforward, ...rest } = parts.options;
  const config = {
    peft_type: form.type,
    // PEFT's tasks are those of texts: its classes for them hand a model token ids.
    task_type: model.info.input === "tokens" ? peftTaskType(model.info.task) : null,
    base_model_name_or_path: options.base ?? null,
    ...rest,
    ...(targets === undefined ? {} : { target_modules: named(targets) }),
    ...(feedforward === undefined ? {} : { feedforward_modules: named(feedforward) }),
    ...(modules.length > 0 ? { modules_to_save: modules.map(stored) } : {}),
  };
  // Tensors of a prompt, and those that a tuner has for all layers, have no path within the model.
  const whole = (name: string): boolean => name === PROMPT_TENSOR || name.startsWith("base_model.");
  const tensors = Object.fromEntries(
    Object.entries({ ...parts.tensors, ...withTiedCopies(parameters, model) }).map(([name, t]) => [whole(name) ? name : stored(name), t]),
  );
  await writePeftAdapter(folder, { config: config as PeftConfigInput, tensors });
  if (model.info.task === "classifier" && options.base !== undefined)
    writeTextFile(join(folder, "README.md"), peftRecipe(model, { base: options.base, folder: ".", ...options }).text);
}

/**
 * The delta of an adapter that PEFT saved, of every kind that a method here has a form for. Every tensor of its file becomes part of it. On an
 * encoder, the head that an adapter for classes brings is a linear one on the pooled vector: `withClassifier` gives the model its place.
 * @throws {LfmError} OP_UNSUPPORTED for kinds and options that have no delta here; PARAM_NOT_FOUND for a module that the model does not have;
 *   SHAPE_MISMATCH; FILE_FORMAT
 */
export function fromPeft(folder: string, model: Model, options: { readonly parent?: string } = {}): Delta {
  const adapter = readPeftAdapter(folder);
  const type = adapter.config.peft_type;
  const method = tuningMethods.find((m) => m.peft?.read && (m.peft.type === type || m.peft.alsoReads?.includes(type)));
  if (!method?.peft?.read) {
    const known = [...new Set(tuningMethods.flatMap(({ peft }) => (peft?.read ? [peft.type, ...(peft.alsoReads ?? [])] : [])))];
    throw new LfmError("OP_UNSUPPORTED", `[@lfm/tuning] an adapter of type ${type} has no delta here`, {
      hint: `${known.join(", ")} have`,
    });
  }
  const { config, tensors, parameters, rows = {} } = method.peft.read(adapter, model);
  const replaced = replacedTensors(model, { parameters, rows, saved: adapter.config.modules_to_save ?? [] });
  const untied = Object.keys(replaced).find((name) => model.info.sites.some((site) => ownWeight(site) === name));
  if (untied !== undefined && method.id !== "lora")
    throw new LfmError("OP_UNSUPPORTED", `[@lfm/tuning] the adapter has a "${untied}" of its own, which ${method.id} has no delta for`, {
      hint: "merge it into the model's folder with PEFT's merge_and_unload",
    });
  return makeDelta(method, parseConfig(method, config), { ...tensors, ...replaced }, options);
}

function methodOf(delta: Delta): AnyTuningMethod | undefined {
  return tuningMethods.find((m) => `${m.paradigm}/${m.id}` === delta.method);
}

/** Tensors of the method, and parameters of the base that learned in full. */
function parted(delta: Delta, model: Model): readonly [Record<string, HostTensor>, Record<string, HostTensor>] {
  const [own, parameters] = [namedRecord<HostTensor>(), namedRecord<HostTensor>()];
  const holds = (name: string): boolean => methodOf(delta)?.peft?.holds?.(name, model) === true;
  for (const [name, t] of Object.entries(delta.tensors)) (isParameterOf(model, name) && !holds(name) ? parameters : own)[name] = t;
  return [own, parameters];
}

/** PEFT unties what it saves: an output layer that is the embedding would stay the base's without a copy of its own. */
function withTiedCopies(parameters: Readonly<Record<string, HostTensor>>, model: Model): Record<string, HostTensor> {
  const all = Object.assign(namedRecord<HostTensor>(), parameters);
  for (const site of model.info.sites) {
    const name = ownWeight(site);
    const shared = name === undefined ? undefined : parameters[site.weight!.name];
    if (name !== undefined && shared && !(name in all)) all[name] = shared;
  }
  return all;
}

function modulesToSave(delta: Delta, model: Model): string[] {
  return [...new Set(Object.keys(withTiedCopies(parted(delta, model)[1], model)).map((name) => name.slice(0, name.lastIndexOf("."))))];
}
