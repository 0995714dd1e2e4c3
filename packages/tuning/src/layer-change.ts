/** What changes of layers have in common: the layer's sizes, and how ΔW lies in the checkpoint. */
import { f32, type HostTensor, type Model, matmul, type Rng, reshape, type Site, type Tensor, transpose } from "@lfm/core";

/** Sizes of a linear layer or a convolution. */
export interface LayerSizes {
  readonly in: number;
  readonly out: number;
  /** Height and width of a convolution's kernel; empty for linear layers. */
  readonly kernel: readonly number[];
}

/** @param site a linear layer, an embedding or a convolution */
export function sizesOf({ weight, conv }: Site): LayerSizes {
  if (conv) return { in: conv.in, out: conv.out, kernel: conv.kernel };
  return { in: weight!.in, out: weight!.out, kernel: [] };
}

/** How many inputs one output of a layer reads: those under the kernel, too. */
export function fanIn({ in: width, kernel }: LayerSizes): number {
  return kernel.reduce((n, k) => n * k, width);
}

/** B·A, f32[out, r] · f32[r, fan-in], as the weight of the site lies in the checkpoint. */
export function productAt(site: Site, b: Tensor, a: Tensor): Tensor {
  if (site.weight?.layout === "in-out") return matmul(a, b, { transA: true, transB: true });
  return laidOut(site, matmul(b, a));
}

/** ΔW f32[out, fan-in] as the weight of the site lies in the checkpoint. */
export function laidOut(site: Site, change: Tensor): Tensor {
  if (site.weight) return site.weight.layout === "in-out" ? transpose(change, [1, 0]) : change;
  const { in: width, out, kernel } = sizesOf(site);
  return reshape(change, [out, width, ...kernel]);
}

/** Uniform in ±1/√fan-in, where a row of the last dimensions is what one output reads: torch's kaiming_uniform_ with a = √5. */
export function kaimingUniform(rng: Rng, shape: readonly number[]): HostTensor {
  const fan = shape.slice(1).reduce((n, d) => n * d, 1);
  const bound = 1 / Math.sqrt(fan);
  return f32(
    rng.uniformArray(
      shape.reduce((n, d) => n * d, 1),
      -bound,
      bound,
    ),
    shape,
  );
}

/** @param value of every element */
export function filled(shape: readonly number[], value: number): HostTensor {
  return f32(new Float32Array(shape.reduce((n, d) => n * d, 1)).fill(value), shape);
}

/** Why PEFT cannot take tensors of layers whose weight lies input first, where it has a method for torch's linear layers and convolutions alone. */
export function inOutRefusal(names: readonly string[], model: Model): { readonly what: string; readonly hint: string } | undefined {
  const site = model.info.sites.find(
    (s) => s.weight?.layout === "in-out" && s.kind !== "embedding" && names.some((n) => n.startsWith(`${s.path}.`)),
  );
  return (
    site && { what: `"${site.path}", whose weight lies input first,`, hint: "PEFT has no form of this method for such layers; lora has" }
  );
}
