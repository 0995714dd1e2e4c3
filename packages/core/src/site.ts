import { LfmError } from "./errors.js";
import { full } from "./ops/elementwise.js";
import { concat, slice } from "./ops/movement.js";
import type { Tensor } from "./tensor.js";

export type SiteKind =
  | "embedding"
  | "block"
  | "attention"
  | "linear"
  | "conv"
  | "scores"
  | "mlp"
  | "norm"
  | "residual"
  | "pooler"
  | "head"
  | "kv";

/** What a linear layer computes: query, key, value, attention output, fused qkv, MLP gate, MLP in, both fused, MLP out, classifier. */
export type SiteRole = "q" | "k" | "v" | "o" | "qkv" | "gate" | "in" | "gate-in" | "out" | "classifier";

/** What of a block adds to its stream. */
export type BlockPart = "attention" | "cross-attention" | "mlp";

/** A named place of the forward pass. Paths are module paths of the Hugging Face model, e.g. `transformer.h.0.attn.c_attn`. */
export interface Site {
  readonly path: string;
  readonly kind: SiteKind;
  /** Linear sites: what is computed. */
  readonly role?: SiteRole;
  /** Block index, where the site belongs to one. */
  readonly layer?: number;
  /** Residual sites: the part of the block that gave what is added. */
  readonly behind?: BlockPart;
  /** Linear sites and embeddings: the weight and how it lies in the checkpoint ("out-in" as torch's Linear, "in-out" as GPT-2's Conv1D). */
  readonly weight?: {
    readonly name: string;
    readonly bias?: string;
    readonly layout: "out-in" | "in-out";
    readonly in: number;
    readonly out: number;
  };
  /**
   * Fused linear sites: where the parts lie in the output, in order and without gaps. Where a layer lies head by head (GPT-NeoX) a role has one
   * part for each head.
   */
  readonly parts?: readonly SitePart[];
  /** Convolutions: the weight is f32[out, in, ...kernel]. */
  readonly conv?: {
    readonly in: number;
    readonly out: number;
    /** Height and width. */
    readonly kernel: readonly [number, number];
    readonly stride: number;
    readonly padding: number;
  };
  /** Attention, "kv" and "scores" sites: numbers of heads (keys and values may have fewer) and the width of one. */
  readonly attention?: { readonly heads: number; readonly kvHeads: number; readonly headDim: number };
  /**
   * Parameters and buffers that the site reads, by what they are there: a layer norm has weight and bias, an RMS norm a weight, a batch norm
   * also running_mean and running_var. Shapes, and whether gradients reach them, stand in `ModelInfo.params`.
   */
  readonly params?: Readonly<Partial<Record<"weight" | "bias" | "running_mean" | "running_var", string>>>;
  /** RMS norms: what is added to the weight before it multiplies (1 in Gemma). Default 0. */
  readonly weightOffset?: number;
}

/** A range of a fused layer's outputs that a layer of its own would have made. */
export interface SitePart {
  readonly role: SiteRole;
  /** First output. */
  readonly offset: number;
  readonly size: number;
}

/** The parts of a linear site's output: those of a fused layer, or the layer itself as one. */
export function partsOf(site: Site): readonly SitePart[] {
  if (site.parts) return site.parts;
  return site.role && site.weight ? [{ role: site.role, offset: 0, size: site.weight.out }] : [];
}

/** How many outputs of a linear site are of this role, in all its parts. */
export function sizeOfRole(site: Site, role: SiteRole): number {
  return partsOf(site).reduce((n, p) => (p.role === role ? n + p.size : n), 0);
}

/**
 * A vector f32[out] over the outputs of a linear site from vectors of some of its roles, each f32[{@link sizeOfRole}] in the order of the outputs;
 * `rest` where none is given. Products and sums with it reach single parts of a fused layer without cutting activations: IA³ on keys and values
 * multiplies by it with rest 1.
 * @throws {LfmError} CONFIG_INVALID for a role that the site has not, SHAPE_MISMATCH for a vector of another size
 */
export function overParts(site: Site, values: Readonly<Partial<Record<SiteRole, Tensor>>>, rest: 0 | 1): Tensor {
  const parts = partsOf(site);
  const roles = [...new Set(parts.map((p) => p.role))];
  for (const [role, value] of Object.entries(values)) {
    const known = roles.find((r) => r === role);
    if (!known)
      throw new LfmError("CONFIG_INVALID", `[@lfm/core] "${site.path}" has no part "${role}"`, { hint: `it has: ${roles.join(", ")}` });
    const size = sizeOfRole(site, known);
    if (String(value.shape) !== String([size]))
      throw new LfmError("SHAPE_MISMATCH", `[@lfm/core] part "${role}" of "${site.path}" has ${size} outputs, got [${value.shape}]`);
  }
  const used: Partial<Record<SiteRole, number>> = {};
  const vectors = parts.map(({ role, size }) => {
    const value = values[role];
    if (!value) return full([size], rest);
    const at = used[role] ?? 0;
    used[role] = at + size;
    return size === value.dim(0) ? value : slice(value, 0, at, size);
  });
  return vectors.length === 1 ? vectors[0]! : concat(vectors, 0);
}
