import { type HostTensor, LfmError, type Model, nearestName, type Site } from "@lfm/core";
import type { PeftAdapter, PeftConfigInput, TokenRows } from "@lfm/formats";

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
    /** Rows of embeddings that it has values of its own for, by module path. */
    readonly rows?: Readonly<Record<string, TokenRows>>;
  };
}

/**
 * PEFT names modules of the whole model; an encoder of ours may be that model without its outermost name (`bert.`).
 * @param kind what the adapter changes there
 * @throws {LfmError} PARAM_NOT_FOUND
 */
export function siteOf(model: Model, path: string, kind: "linear" | "embedding" = "linear"): Site {
  const all = model.info.sites.filter((s) => s.weight && (s.kind === "embedding") === (kind === "embedding"));
  const found = all.find((s) => s.path === path) ?? all.find((s) => path.endsWith(`.${s.path}`) || s.path.endsWith(`.${path}`));
  if (found) return found;
  const near = nearestName(
    path,
    all.map((s) => s.path),
  );
  throw new LfmError(
    "PARAM_NOT_FOUND",
    `[@lfm/tuning] the model has no ${kind === "embedding" ? "embedding" : "layer"} "${path}", which the adapter changes`,
    near ? { hint: `did you mean "${near}"?` } : {},
  );
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
