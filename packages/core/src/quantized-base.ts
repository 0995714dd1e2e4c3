import type { HostTensor } from "./dtype.js";
import { loadWeight } from "./engines/reference.js";
import { LfmError } from "./errors.js";
import type { Hook } from "./hooks.js";
import type { Model, ParamTree } from "./model.js";
import { widenToF32 } from "./small-floats.js";
import { placeholder } from "./tensor.js";

/**
 * A parameter as the forward pass has it, in f32: of a quantised base what its integers stand for.
 * @throws {LfmError} PARAM_NOT_FOUND
 */
export function weightOf(model: Pick<Model, "params" | "quantized">, name: string): HostTensor {
  const own = model.quantized?.[name];
  if (own) return own();
  const weight = model.params[name];
  if (!weight) throw new LfmError("PARAM_NOT_FOUND", `[@lfm/core] the model has no parameter "${name}"`);
  return widenToF32(loadWeight(weight));
}

/** What is to lie on a base: a delta. */
interface LyingOn {
  readonly method: string;
  readonly tensors: Readonly<Record<string, HostTensor>>;
  hooks(tensors: ParamTree): readonly Hook[];
}

/**
 * A delta that replaces weights, or changes them before they are multiplied by, has no base in fewer bits: the pass does not have these in f32.
 * @throws {LfmError} CAPABILITY_MISSING
 */
export function requirePlainBase({ info, quantized }: Pick<Model, "info" | "quantized">, delta: LyingOn): void {
  if (!quantized) return;
  const refused = (what: string): LfmError =>
    new LfmError("CAPABILITY_MISSING", `[@lfm/core] ${delta.method} ${what}, which this base holds in fewer bits`, {
      hint: "leave --base out, or choose a method that leaves the weights as they are: lora, dora, ia3, bottleneck, prompt",
    });
  const replaced = Object.keys(delta.tensors).find((name) => Object.hasOwn(quantized, name));
  if (replaced !== undefined) throw refused(`replaces "${replaced}"`);
  const hooks: readonly Hook[] = delta.hooks(
    Object.fromEntries(Object.entries(delta.tensors).map(([name, t]) => [name, placeholder(name, t.dtype, t.shape)])),
  );
  const changed = info.sites.find(
    (site) => site.weight && Object.hasOwn(quantized, site.weight.name) && hooks.some((h) => h.weight && h.matches(site)),
  );
  if (changed) throw refused(`changes the weight of "${changed.path}"`);
}
