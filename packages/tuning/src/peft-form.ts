import { type HostTensor, LfmError, type Model, nearestName, type Site } from "@lfm/core";
import type { PeftAdapter, PeftConfigInput } from "@lfm/formats";

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
  /** @param own tensors of the delta that are not parameters of the base */
  write(config: C, own: Readonly<Record<string, HostTensor>>, model: Model): PeftParts;
  /**
   * @returns options of the method (missing ones take their defaults), its tensors, and what the adapter trained in full, by checkpoint name
   * @throws {LfmError} OP_UNSUPPORTED for options that have no delta here; PARENT_MISMATCH, SHAPE_MISMATCH for an adapter of another model
   */
  read(
    adapter: PeftAdapter,
    model: Model,
  ): {
    readonly config: Partial<C>;
    readonly tensors: Readonly<Record<string, HostTensor>>;
    readonly parameters: Readonly<Record<string, HostTensor>>;
  };
}

/** PEFT names modules of the whole model; an encoder of ours may be that model without its outermost name (`bert.`). @throws {LfmError} PARAM_NOT_FOUND */
export function siteOf(model: Model, path: string): Site {
  const linear = model.info.sites.filter((s) => s.weight && (s.kind === "linear" || s.kind === "head"));
  const found = linear.find((s) => s.path === path || path.endsWith(`.${s.path}`) || s.path.endsWith(`.${path}`));
  if (found) return found;
  const near = nearestName(
    path,
    linear.map((s) => s.path),
  );
  throw new LfmError(
    "PARAM_NOT_FOUND",
    `[@lfm/tuning] the model has no layer "${path}", which the adapter changes`,
    near ? { hint: `did you mean "${near}"?` } : {},
  );
}

/** @throws {LfmError} SHAPE_MISMATCH */
export function expectShape(name: string, t: HostTensor, shape: readonly number[]): void {
  if (t.shape.join() !== shape.join())
    throw new LfmError("SHAPE_MISMATCH", `[@lfm/tuning] the adapter's "${name}" is [${t.shape}], this model needs [${shape}]`);
}
