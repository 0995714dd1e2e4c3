import { f32, type HostTensor, LfmError, loadWeight, type Model, widenToF32 } from "@lfm/core";
import { matrix, times } from "@lfm/core/linalg";
import { modelFromConfig } from "@lfm/models";
import { type Axis, axesOf, type ParameterAxes } from "./axes.js";
import { type Narrowing, type Reduce, reducersOf, type Sizes } from "./reducers.js";

export interface NarrowOptions {
  /** Width of the stream. Default the model's. */
  readonly width?: number;
  /** Units of each MLP. Default the model's share of the width. */
  readonly inner?: number;
  /** The strongest directions that are axes, or those of the singular vectors of what reads the stream. */
  readonly by: Narrowing;
}

/**
 * The model with a narrower stream, fewer heads (of the width that they have) and fewer units in each MLP. Heads and units are those of the largest
 * weights. The stream keeps its strongest coordinates ("pruning"), or is projected onto the leading singular vectors of all that reads it ("svd"):
 * what reads it is multiplied by their transpose, what writes it by themselves. Norms are scaled so that a stream that lies in what is kept comes out
 * of them as before.
 * @throws {LfmError} CONFIG_INVALID for sizes that do not go together, CAPABILITY_MISSING for a model that is no transformer
 */
export function narrow(model: Model, options: NarrowOptions): Model {
  const { info } = model;
  const axes = axesOf(model);
  const sizes = sizesOf(model, axes, options);
  const tensors = Object.fromEntries(Object.keys(info.params).map((name) => [name, widenToF32(loadWeight(model.params[name]!))]));
  const { reduce, normScale } = reducersOf(axes, tensors, sizes, options.by);
  const norms = new Map(
    info.sites.flatMap((s) => (s.kind === "norm" && s.params?.weight ? [[s.params.weight, s.weightOffset ?? 0] as const] : [])),
  );
  const params = Object.fromEntries(
    Object.entries(tensors).map(([name, t]) => {
      const [own, offset] = [axes.get(name)!, norms.get(name)];
      return [name, offset === undefined ? reduced(t, own, reduce) : reducedNorm(t, own[0]!, reduce, normScale, offset)];
    }),
  );
  return modelFromConfig(narrowConfig(model, sizes), params);
}

function sizesOf(
  { info }: Model,
  axes: ReadonlyMap<string, ParameterAxes>,
  { width = info.hiddenSize, inner }: NarrowOptions,
): Sizes & { readonly full: Sizes } {
  const { heads, kvHeads, headDim } = info.sites.find((s) => s.kind === "scores")!.attention!;
  const own = [...axes.values()].flat(2).find((a) => a.kind === "inner")?.size ?? 0;
  const share = width / info.hiddenSize;
  const sizes = { width, inner: inner ?? Math.round(own * share), heads: heads * share, kvHeads: kvHeads * share, headDim };
  const fits = (n: number): boolean => Number.isInteger(n) && n > 0;
  if (fits(width) && fits(sizes.inner) && fits(sizes.heads) && fits(sizes.kvHeads) && share <= 1 && sizes.inner <= own)
    return { ...sizes, full: { width: info.hiddenSize, inner: own, heads, kvHeads, headDim } };
  const step = info.hiddenSize / kvHeads;
  throw new LfmError(
    "CONFIG_INVALID",
    `[@lfm/distillation] a width of ${width} with ${sizes.inner} inner units is nothing to make of ${info.hiddenSize} with ${own}`,
    {
      hint: `heads stay as wide as they are: --width a multiple of ${step}, e.g. ${step * Math.max(1, Math.floor(kvHeads / 2))}`,
    },
  );
}

/** Names of sizes in configs. */
const KEYS: Readonly<Record<keyof Omit<Sizes, "headDim">, readonly string[]>> = {
  width: ["hidden_size", "n_embd", "dim", "d_model"],
  inner: ["intermediate_size", "n_inner", "hidden_dim", "d_ff"],
  heads: ["num_attention_heads", "n_head", "n_heads", "num_heads"],
  kvHeads: ["num_key_value_heads"],
};

function narrowConfig({ info }: Model, sizes: Sizes & { readonly full: Sizes }): Record<string, unknown> {
  const config: Record<string, unknown> = { ...info.config, model_type: info.architecture };
  for (const [size, names] of Object.entries(KEYS) as [keyof typeof KEYS, readonly string[]][])
    for (const name of names) if (name in config) config[name] = sizes[size];
  return config;
}

/** A tensor whose axes are multiplied by their matrices. */
function reduced(t: HostTensor, axes: ParameterAxes, reduce: Reduce): HostTensor {
  let [shape, data]: [readonly number[], Float64Array] = [t.shape, Float64Array.from(Array.from(t.data, Number))];
  for (const [i, parts] of axes.entries()) {
    const along = parts.map((axis) => ({ axis, by: reduce(axis) }));
    if (along.every(({ by }) => by === undefined)) continue;
    const [before, size] = [shape.slice(0, i).reduce((a, b) => a * b, 1), shape[i]!];
    const behind = shape.slice(i + 1).reduce((a, b) => a * b, 1);
    const to = along.reduce((n, { axis, by }) => n + (by?.rows ?? axis.size), 0);
    const next = new Float64Array(before * to * behind);
    let written = 0;
    for (let b = 0; b < before; b++) {
      let start = b * size;
      for (const { axis, by } of along) {
        const own = matrix(axis.size, behind, data.slice(start * behind, (start + axis.size) * behind));
        const piece = by ? times(by, own) : own;
        next.set(piece.data, written);
        written += piece.data.length;
        start += axis.size;
      }
    }
    data = next;
    shape = [...shape.slice(0, i), to, ...shape.slice(i + 1)];
  }
  return f32(Float32Array.from(data), [...shape]);
}

/** The factors of a norm: mixed by the squares of the projection, so that even ones stay even. */
function reducedNorm(t: HostTensor, [axis]: readonly Axis[], reduce: Reduce, scale: number, offset: number): HostTensor {
  const by = reduce(axis!);
  if (!by) return t;
  const whole = matrix(
    t.data.length,
    1,
    Array.from(t.data, Number).map((v) => v + offset),
  );
  const squares = matrix(
    by.rows,
    by.columns,
    by.data.map((v) => v * v),
  );
  return f32(
    Float32Array.from(times(squares, whole).data, (v) => scale * v - offset),
    [by.rows],
  );
}
