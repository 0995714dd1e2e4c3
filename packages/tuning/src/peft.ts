import { type Delta, type HostTensor, LfmError, type Model, makeDelta, parseConfig } from "@lfm/core";
import { type PeftConfigInput, peftTaskType, readPeftAdapter, writePeftAdapter } from "@lfm/formats";
import type { AnyTuningMethod } from "./define-tuning.js";
import { tuningMethods } from "./methods/index.js";
import { expectShape } from "./peft-form.js";

export interface ToPeftOptions {
  /** Name or path of the base, written as `base_model_name_or_path`. */
  readonly base?: string;
}

/** Whether `toPeft` has a form for a delta on this model: its kind is known to PEFT, and so is what it trained in full beside it. */
export function hasPeftForm(delta: Delta, model: Model): boolean {
  const form = methodOf(delta)?.peft;
  return form !== undefined && (form.type !== "PROMPT_TUNING" || modulesToSave(delta, model).length === 0);
}

/**
 * Saves a delta as PEFT does: `PeftModel.from_pretrained(base, folder)` loads it. Parameters that learned in full stand under `modules_to_save`.
 * @throws {LfmError} CONFIG_INVALID for deltas that have no form in PEFT; FILE_IO
 */
export async function toPeft(folder: string, delta: Delta, model: Model, options: ToPeftOptions = {}): Promise<void> {
  const form = methodOf(delta)?.peft;
  if (!form) {
    const known = tuningMethods.flatMap((m) => (m.peft ? [m.id] : []));
    throw new LfmError("CONFIG_INVALID", `[@lfm/tuning] ${delta.method} has no form in PEFT`, { hint: `${known.join(", ")} have` });
  }
  if (!hasPeftForm(delta, model))
    throw new LfmError("CONFIG_INVALID", `[@lfm/tuning] ${delta.method} with other trained parameters has no form in PEFT`);
  const [own, parameters] = parted(delta, model);
  const parts = form.write(delta.config, own, model);
  const modules = modulesToSave(delta, model);
  const config = {
    peft_type: form.type,
    task_type: peftTaskType(model.info.task),
    base_model_name_or_path: options.base ?? null,
    ...parts.options,
    ...(modules.length > 0 ? { modules_to_save: modules } : {}),
  };
  await writePeftAdapter(folder, { config: config as PeftConfigInput, tensors: { ...parts.tensors, ...parameters } });
}

/**
 * The delta of an adapter that PEFT saved, of every kind that a method here has a form for.
 * @throws {LfmError} OP_UNSUPPORTED for kinds and options that have no delta here; PARAM_NOT_FOUND for a module that the model does not have;
 *   SHAPE_MISMATCH; FILE_FORMAT
 */
export function fromPeft(folder: string, model: Model, options: { readonly parent?: string } = {}): Delta {
  const adapter = readPeftAdapter(folder);
  const method = tuningMethods.find((m) => m.peft?.type === adapter.config.peft_type);
  if (!method?.peft) {
    const known = [...new Set(tuningMethods.flatMap((m) => (m.peft ? [m.peft.type] : [])))];
    throw new LfmError("OP_UNSUPPORTED", `[@lfm/tuning] an adapter of type ${adapter.config.peft_type} has no delta here`, {
      hint: `${known.join(", ")} have`,
    });
  }
  const read = method.peft.read(adapter, model);
  const tensors: Record<string, HostTensor> = { ...read.tensors };
  for (const [name, t] of Object.entries(read.parameters)) {
    if (isTiedCopy(model, name, read.parameters)) continue;
    const own = parameterOf(model, name);
    expectShape(name, t, model.info.params[own]!.shape);
    tensors[own] = t;
  }
  return makeDelta(method, parseConfig(method, read.config), tensors, options);
}

function methodOf(delta: Delta): AnyTuningMethod | undefined {
  return tuningMethods.find((m) => `${m.paradigm}/${m.id}` === delta.method);
}

/** Tensors of the method, and parameters of the base that learned in full. */
function parted(delta: Delta, model: Model): readonly [Record<string, HostTensor>, Record<string, HostTensor>] {
  const entries = Object.entries(delta.tensors);
  const isParameter = (name: string): boolean => name in model.info.params;
  return [
    Object.fromEntries(entries.filter(([name]) => !isParameter(name))),
    Object.fromEntries(entries.filter(([name]) => isParameter(name))),
  ];
}

function modulesToSave(delta: Delta, model: Model): string[] {
  return [...new Set(Object.keys(parted(delta, model)[1]).map((name) => name.slice(0, name.lastIndexOf("."))))];
}

function parameterOf(model: Model, name: string): string {
  const found = Object.keys(model.info.params).find((p) => p === name || name.endsWith(`.${p}`) || p.endsWith(`.${name}`));
  if (found) return found;
  throw new LfmError("PARAM_NOT_FOUND", `[@lfm/tuning] the model has no parameter "${name}", which the adapter replaces`);
}

/** PEFT unties what it saves: an output layer that is the embedding stands in the file a second time. @throws {LfmError} OP_UNSUPPORTED where both differ */
function isTiedCopy(model: Model, name: string, parameters: Readonly<Record<string, HostTensor>>): boolean {
  const head = model.info.sites.find(
    (s) => s.kind === "head" && s.weight !== undefined && s.weight.name !== name && `${s.path}.weight` === name,
  );
  const shared = head && parameters[head.weight!.name];
  if (!shared) return false;
  if (shared.data.length === parameters[name]!.data.length && shared.data.every((v, i) => v === parameters[name]!.data[i])) return true;
  throw new LfmError(
    "OP_UNSUPPORTED",
    `[@lfm/tuning] the adapter has a "${name}" of its own, which the model shares with "${head!.weight!.name}"`,
  );
}
