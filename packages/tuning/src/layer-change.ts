/** What changes of layers have in common: the layer's sizes, and how ΔW lies in the checkpoint. */
import { matmul, reshape, type Site, type Tensor, transpose } from "@lfm/core";

/** Sizes of a linear layer or a convolution. */
interface LayerSizes {
  readonly in: number;
  readonly out: number;
  /** Height and width of a convolution's kernel; empty for linear layers. */
  readonly kernel: readonly number[];
}

/** @param site a linear layer, an embedding or a convolution */
function sizesOf({ weight, conv }: Site): LayerSizes {
  if (conv) return { in: conv.in, out: conv.out, kernel: conv.kernel };
  return { in: weight!.in, out: weight!.out, kernel: [] };
}

/** B·A, f32[out, r] · f32[r, fan-in], as the weight of the site lies in the checkpoint. */
export function productAt(site: Site, b: Tensor, a: Tensor): Tensor {
  if (site.weight?.layout === "in-out") return matmul(a, b, { transA: true, transB: true });
  return laidOut(site, matmul(b, a));
}

/** ΔW f32[out, fan-in] as the weight of the site lies in the checkpoint. */
function laidOut(site: Site, change: Tensor): Tensor {
  if (site.weight) return site.weight.layout === "in-out" ? transpose(change, [1, 0]) : change;
  const { in: width, out, kernel } = sizesOf(site);
  return reshape(change, [out, width, ...kernel]);
}
