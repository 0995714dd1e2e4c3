import {
  add,
  concat,
  conv2d,
  div,
  dropoutAt,
  expandDims,
  f32,
  gather,
  type Hook,
  type HostTensor,
  LfmError,
  linear,
  type Model,
  matmul,
  maximum,
  mul,
  neg,
  type ParamTree,
  type Rng,
  reshape,
  type Site,
  sqrt,
  square,
  stopGradient,
  sub,
  sum,
  type Tensor,
  transpose,
  weightOf,
  zeros,
} from "@lfm/core";
import { fanIn, kaimingUniform, productAt, sizesOf } from "./layer-change.js";
import { type LayerRanks, layerRanks, type Patterns } from "./layer-ranks.js";
import { ownWeights } from "./own-weights.js";

/** What A and B are scaled by, and what flows into A. */
export interface LoraScaling extends Partial<Patterns> {
  readonly r: number;
  readonly loraAlpha: number;
  readonly useRslora: boolean;
  readonly loraDropout: number;
}

/** PEFT's names of a site's tensors: a table's differ from a linear layer's. */
export function loraNames({ path, kind }: Pick<Site, "path" | "kind">): Readonly<Record<"a" | "b" | "bias" | "magnitude", string>> {
  const [a, b] = kind === "embedding" ? ["lora_embedding_A", "lora_embedding_B"] : ["lora_A.weight", "lora_B.weight"];
  return { a: `${path}.${a}`, b: `${path}.${b}`, bias: `${path}.lora_B.bias`, magnitude: `${path}.lora_magnitude_vector` };
}

/** Of A and B that are taken off again, so that a LoRA which does not start from zero changes nothing at first (PiSSA). */
export function initialName(name: string): string {
  return `${name}.initial`;
}

export function loraRanks({
  r,
  loraAlpha,
  rankPattern = {},
  alphaPattern = {},
}: Omit<LoraScaling, "useRslora" | "loraDropout">): LayerRanks {
  return layerRanks({ r, alpha: loraAlpha, rankPattern, alphaPattern });
}

/** α/r or α/√r of a layer, by its path. */
export function loraScales(c: Omit<LoraScaling, "loraDropout">): (path: string) => number {
  const ranks = loraRanks(c);
  return (path) => ranks.alpha(path) / (c.useRslora ? Math.sqrt(ranks.rank(path)) : ranks.rank(path));
}

/**
 * Fresh factors for every site, under PEFT's names: of linear layers and convolutions A uniform, B zero, of embeddings A zero, B normal.
 * A — f32[r, in], B — f32[out, r]; of convolutions f32[r, in, height, width] and f32[out, r, 1, 1].
 * @param r of all, or by path
 * @param gaussian A ~ N(0, 1/r²) instead
 * @throws {LfmError} CONFIG_INVALID for a rank that no update of the layer can have
 */
export function initLora(
  sites: readonly Site[],
  r: number | ((path: string) => number),
  rng: Rng,
  gaussian = false,
): Record<string, HostTensor> {
  const tensors: Record<string, HostTensor> = {};
  for (const site of sites) {
    const rank = typeof r === "number" ? r : r(site.path);
    const sizes = sizesOf(site);
    const [width, out] = [fanIn(sizes), sizes.out];
    if (rank > Math.max(width, out))
      throw new LfmError(
        "CONFIG_INVALID",
        `[@lfm/tuning] rank ${rank} is more than "${site.path}" has inputs (${width}) or outputs (${out})`,
        { hint: `take ${Math.min(width, out)} or less` },
      );
    const { a, b } = loraNames(site);
    const own = rng.split(site.path);
    const down = [rank, sizes.in, ...sizes.kernel];
    if (site.kind === "embedding") {
      tensors[a] = zeros(down);
      tensors[b] = f32(own.normalArray(out * rank), [out, rank]);
    } else {
      tensors[a] = gaussian ? f32(own.normalArray(rank * width, 1 / rank), down) : kaimingUniform(own, down);
      tensors[b] = zeros([out, rank, ...sizes.kernel.map(() => 1)]);
    }
  }
  return tensors;
}

/** Magnitudes that change nothing while B·A is zero: the norms of the weights over the inputs of each output. m — f32[out] */
export function initMagnitudes(model: Model, sites: readonly Site[]): Record<string, HostTensor> {
  return Object.fromEntries(
    sites.map((site) => {
      const { name, layout, in: width, out } = site.weight!;
      const { data } = weightOf(model, name);
      const squares = new Float64Array(out);
      for (let o = 0; o < out; o++)
        for (let i = 0; i < width; i++) squares[o]! += Number(data[layout === "out-in" ? o * width + i : i * out + o]) ** 2;
      return [loraNames(site).magnitude, f32(squares.map(Math.sqrt), [out])];
    }),
  );
}

/** A and B as they count: beside them, negative, those that they started from. */
function factorsAt(site: Site, tensors: ParamTree): readonly [a: Tensor, b: Tensor] {
  const { a, b } = loraNames(site);
  const [a0, b0] = [tensors[initialName(a)], tensors[initialName(b)]];
  if (!a0 || !b0) return [tensors[a]!, tensors[b]!];
  return [concat([tensors[a]!, a0], 0), concat([tensors[b]!, neg(b0)], 1)];
}

/**
 * Adds s·B(Ax) to the output of every site that has an adapter among `tensors`; with a magnitude (DoRA) the output is that of
 * m · (W + sBA) / ‖W + sBA‖, whose norms count as constants. W is what weight hooks made of the weight: what deltas below add to the output is no
 * part of the norms.
 */
export function loraHooks(tensors: ParamTree, c: LoraScaling): readonly Hook[] {
  const scaleOf = loraScales(c);
  const change = (site: Site, x: Tensor): Tensor => {
    const { bias } = loraNames(site);
    const [a, b] = factorsAt(site, tensors);
    const scale = scaleOf(site.path);
    if (site.conv) return conv2d(mul(conv2d(x, a, undefined, { stride: site.conv.stride, padding: site.conv.padding }), scale), b);
    const low = site.kind === "embedding" ? gather(transpose(a, [1, 0]), x) : linear(x, a, undefined);
    const up = linear(mul(low, scale), b, undefined);
    return tensors[bias] ? add(up, mul(tensors[bias], scale)) : up;
  };
  return [
    ...ownWeights(tensors),
    {
      matches: (site) => loraNames(site).a in tensors,
      output: (y, x, site, context) => {
        const seen = site.kind === "embedding" ? x : dropoutAt(x, c.loraDropout, context);
        const magnitude = tensors[loraNames(site).magnitude];
        if (!magnitude) return add(y, change(site, seen));
        const [a, b] = factorsAt(site, tensors);
        const factor = div(magnitude, stopGradient(normsOfSum(context.weight!, site, a, b, scaleOf(site.path))));
        const { bias } = context;
        if (seen === x) {
          const scaled = mul(add(bias ? sub(y, bias) : y, change(site, seen)), factor);
          return bias ? add(scaled, bias) : scaled;
        }
        // What was dropped for the adapter is dropped for the base's part of the difference, too, as in PEFT.
        const base = linear(seen, context.weight!, undefined, site.weight!.layout);
        return add(y, add(mul(base, sub(factor, 1)), mul(change(site, seen), factor)));
      },
    },
  ];
}

/** The same as a change of weights: W + s·B·A in the layout of the checkpoint, rescaled by magnitudes; biases are shifted. */
export function loraWeights(tensors: ParamTree, c: LoraScaling): readonly Hook[] {
  const scaleOf = loraScales(c);
  const shift = (site: Site): Tensor | undefined => {
    const bias = tensors[loraNames(site).bias];
    return bias && mul(bias, scaleOf(site.path));
  };
  return [
    ...ownWeights(tensors),
    {
      matches: (site) => loraNames(site).a in tensors,
      weight: (w, site) => {
        const [a, b] = factorsAt(site, tensors).map((t) => reshape(t, [t.dim(0), -1])) as [Tensor, Tensor];
        const v = add(w, productAt(site, mul(b, scaleOf(site.path)), a));
        const magnitude = tensors[loraNames(site).magnitude];
        if (!magnitude) return v;
        const factor = div(magnitude, sqrt(squares(v, site)));
        return mul(v, site.weight!.layout === "out-in" ? expandDims(factor, 1) : factor);
      },
    },
    {
      matches: (site) => shift(site) !== undefined && site.weight?.bias !== undefined,
      bias: (b, site) => add(b, shift(site)!),
    },
    // A layer without a bias has no place for one: this is more than a change of weights.
    {
      matches: (site) => shift(site) !== undefined && site.weight?.bias === undefined,
      output: (y, _x, site) => add(y, shift(site)!),
    },
  ];
}

/** Squared norms over the inputs of each output, f32[out]. */
function squares(w: Tensor, { weight }: Site): Tensor {
  return sum(square(w), weight!.layout === "out-in" ? 1 : 0);
}

/** ‖W + sBA‖ of each output, f32[out], by ‖W‖² + 2s⟨W, BA⟩ + s²‖BA‖² = ‖W‖² + s·⟨B, 2·WAᵀ + s·B·AAᵀ⟩: B·A, as large as W, is never formed. */
function normsOfSum(w: Tensor, site: Site, a: Tensor, b: Tensor, scale: number): Tensor {
  const along = matmul(w, a, { transA: site.weight!.layout === "in-out", transB: true });
  const own = matmul(b, matmul(a, a, { transB: true }));
  const more = sum(mul(b, add(mul(along, 2 * scale), mul(own, scale * scale))), 1);
  // Rounding may leave less than nothing where the sum is next to nothing.
  return sqrt(maximum(add(squares(w, site), more), 0));
}
