import {
  add,
  div,
  dropoutAt,
  expandDims,
  f32,
  gather,
  type Hook,
  type HookContext,
  type HostTensor,
  LfmError,
  linear,
  type Model,
  matmul,
  mul,
  type ParamTree,
  type Rng,
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
import { ownWeights } from "./own-weights.js";

/** What A and B are scaled by, and what flows into A. */
export interface LoraScaling {
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

/** α/r or α/√r. */
export function loraScale(c: Pick<LoraScaling, "r" | "loraAlpha" | "useRslora">): number {
  return c.loraAlpha / (c.useRslora ? Math.sqrt(c.r) : c.r);
}

/**
 * Fresh factors for every site, under PEFT's names: of linear layers A uniform, B zero, of embeddings A zero, B normal.
 * A — f32[r, in], B — f32[out, r].
 * @throws {LfmError} CONFIG_INVALID for a rank that no update of the layer can have
 */
export function initLora(sites: readonly Site[], r: number, rng: Rng): Record<string, HostTensor> {
  const tensors: Record<string, HostTensor> = {};
  for (const site of sites) {
    const { in: width, out } = site.weight!;
    if (r > Math.max(width, out))
      throw new LfmError(
        "CONFIG_INVALID",
        `[@lfm/tuning] rank ${r} is more than "${site.path}" has inputs (${width}) or outputs (${out})`,
        {
          hint: `take ${Math.min(width, out)} or less`,
        },
      );
    const { a, b } = loraNames(site);
    const own = rng.split(site.path);
    const bound = 1 / Math.sqrt(width);
    const table = site.kind === "embedding";
    tensors[a] = table ? zeros([r, width]) : f32(own.uniformArray(r * width, -bound, bound), [r, width]);
    tensors[b] = table ? f32(own.normalArray(out * r), [out, r]) : zeros([out, r]);
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

/**
 * Adds s·B(Ax) to the output of every site that has an adapter among `tensors`; with a magnitude (DoRA) the output is that of
 * m · (W + sBA) / ‖W + sBA‖, whose norms count as constants. W is what weight hooks made of the weight: what deltas below add to the output is no
 * part of the norms.
 */
export function loraHooks(tensors: ParamTree, c: LoraScaling): readonly Hook[] {
  const scale = loraScale(c);
  const change = (site: Site, x: Tensor): Tensor => {
    const { a, b, bias } = loraNames(site);
    const low = site.kind === "embedding" ? gather(transpose(tensors[a]!, [1, 0]), x) : linear(x, tensors[a]!, undefined);
    const up = linear(mul(low, scale), tensors[b]!, undefined);
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
        const factor = div(magnitude, stopGradient(norms(summed(context.weight!, site, tensors, scale), site)));
        // What was dropped for the adapter is dropped for the base's part of the difference, too, as in PEFT.
        const base = seen === x ? withoutBias(y, context) : linear(seen, context.weight!, undefined, site.weight!.layout);
        return add(y, add(mul(base, sub(factor, 1)), mul(change(site, seen), factor)));
      },
    },
  ];
}

function withoutBias(y: Tensor, { bias }: HookContext): Tensor {
  return bias ? sub(y, bias) : y;
}

/** The same as a change of weights: W + s·B·A in the layout of the checkpoint, rescaled by magnitudes; biases are shifted. */
export function loraWeights(tensors: ParamTree, c: LoraScaling): readonly Hook[] {
  const scale = loraScale(c);
  const shift = (site: Site): Tensor | undefined => tensors[loraNames(site).bias];
  return [
    ...ownWeights(tensors),
    {
      matches: (site) => loraNames(site).a in tensors,
      weight: (w, site) => {
        const v = summed(w, site, tensors, scale);
        const magnitude = tensors[loraNames(site).magnitude];
        if (!magnitude) return v;
        const factor = div(magnitude, norms(v, site));
        return mul(v, site.weight!.layout === "out-in" ? expandDims(factor, 1) : factor);
      },
    },
    {
      matches: (site) => shift(site) !== undefined && site.weight?.bias !== undefined,
      bias: (b, site) => add(b, mul(shift(site)!, scale)),
    },
    // A layer without a bias has no place for one: this is more than a change of weights.
    {
      matches: (site) => shift(site) !== undefined && site.weight?.bias === undefined,
      output: (y, _x, site) => add(y, mul(shift(site)!, scale)),
    },
  ];
}

/** W + s·B·A. */
function summed(w: Tensor, site: Site, tensors: ParamTree, scale: number): Tensor {
  const names = loraNames(site);
  const [a, b] = [tensors[names.a]!, mul(tensors[names.b]!, scale)];
  return add(w, site.weight!.layout === "out-in" ? matmul(b, a) : matmul(a, b, { transA: true, transB: true }));
}

/** f32[out]: over the inputs of each output. */
function norms(v: Tensor, { weight }: Site): Tensor {
  return sqrt(sum(square(v), weight!.layout === "out-in" ? 1 : 0));
}
