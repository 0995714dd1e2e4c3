import type { HostTensor } from "./dtype.js";
import { loadWeight } from "./engines/reference.js";
import { LfmError } from "./errors.js";
import type { Model } from "./model.js";
import { widenToF32 } from "./small-floats.js";

/** The f32 copies of a model's parameters that gradients are taken of: all that are trainable, or those of the names. @throws {LfmError} PARAM_NOT_FOUND, CAPABILITY_MISSING for one that a quantised base holds */
export function trainableParams(model: Model, names?: readonly string[]): Record<string, HostTensor> {
  const chosen = names ?? Object.keys(model.info.params).filter((n) => model.info.params[n]!.trainable);
  const held = chosen.find((n) => model.quantized && Object.hasOwn(model.quantized, n));
  if (held !== undefined)
    throw new LfmError("CAPABILITY_MISSING", `[@lfm/core] "${held}" cannot learn: this base holds it in fewer bits`, {
      hint: "leave --base out, or choose a method that leaves the weights as they are: lora, dora, ia3, bottleneck, prompt",
    });
  return Object.fromEntries(chosen.map((n) => [n, asF32(model, n)]));
}

function asF32(model: Model, name: string): HostTensor {
  const weight = model.params[name];
  if (!weight) throw new LfmError("PARAM_NOT_FOUND", `[@lfm/core] the model has no parameter "${name}"`);
  return widenToF32(loadWeight(weight));
}

/** The f32 copies of a model's buffers (running statistics): what training moves without gradients. */
export function buffersOf(model: Model): Record<string, HostTensor> {
  const names = Object.keys(model.params).filter((n) => model.info.params[n]?.trainable === false);
  return Object.fromEntries(names.map((n) => [n, asF32(model, n)]));
}
