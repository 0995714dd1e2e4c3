/** Pooling and resizing of images f32[n, c, h, w], composed of primitives, so that every derivative exists. Height and width are concrete. */
import type { Dim } from "../dims.js";
import { f32, type HostTensor, i32 } from "../dtype.js";
import { LfmError } from "../errors.js";
import { constant, type Tensor } from "../tensor.js";
import { conv2d } from "./conv.js";
import { div, full } from "./elementwise.js";
import { gather } from "./index-ops.js";
import { matmul } from "./matmul.js";
import { broadcastTo, reshape, slice } from "./movement.js";
import { max, mean } from "./reduce.js";

export interface PoolOptions {
  /** Default: the side of the window, so that windows do not overlap. */
  readonly stride?: number;
  /** Rows and columns outside of the image on each side, at most half of the window. Default 0. */
  readonly padding?: number;
}

/** Largest value of each k×k window. What lies outside is never the largest; tied values share the gradient. */
export function maxPool2d(x: Tensor, k: number, options: PoolOptions = {}): Tensor {
  const { stride, padding } = checkPool("maxPool2d", k, options);
  if (stride === k && padding === 0) return max(tiles(x, k), [3, 5]);
  // A row outside stands for the nearest inside, which lies in the same window.
  const rows = (axis: 2 | 3): Tensor => {
    const n = x.dim(axis) as number;
    const starts = Array.from({ length: Math.floor((n + 2 * padding - k) / stride) + 1 }, (_, i) => i * stride - padding);
    const places = starts.flatMap((s) => Array.from({ length: k }, (_, i) => Math.min(n - 1, Math.max(0, s + i))));
    return constant(i32(places, [starts.length, k]));
  };
  return max(gather(gather(x, rows(2), 2), rows(3), 4), [3, 5]);
}

/** Mean of each k×k window; outside are zeros that count unless `countPadding` is false. */
export function avgPool2d(x: Tensor, k: number, options: PoolOptions & { readonly countPadding?: boolean } = {}): Tensor {
  const { stride, padding } = checkPool("avgPool2d", k, options);
  if (stride === k && padding === 0) return mean(tiles(x, k), [3, 5]);
  const [, c, h, w] = x.shape as readonly [Dim, number, number, number];
  const means = (image: Tensor, channels: number): Tensor =>
    conv2d(image, full([channels, 1, k, k], 1 / (k * k)), undefined, { stride, padding, groups: channels });
  const y = means(x, c);
  return options.countPadding === false && padding > 0 ? div(y, means(full([1, 1, h, w], 1), 1)) : y;
}

function checkPool(name: string, k: number, { stride = k, padding = 0 }: PoolOptions): { stride: number; padding: number } {
  if (padding * 2 > k)
    throw new LfmError("SHAPE_MISMATCH", `[@lfm/core] ${name}: a padding of ${padding} is more than half of the window ${k}`);
  return { stride, padding };
}

/** Non-overlapping windows of side k as [n, c, h/k, k, w/k, k]; rows and columns that do not fill a window are cut. */
function tiles(x: Tensor, k: number): Tensor {
  const [n, c, h, w] = x.shape as readonly [Dim, Dim, number, number];
  const [rows, columns] = [Math.floor(h / k), Math.floor(w / k)];
  const cut = slice(slice(x, 2, 0, rows * k), 3, 0, columns * k);
  return reshape(cut, [n, c, rows, k, columns, k]);
}

/** Repeats every pixel k×k times. */
export function upsample2d(x: Tensor, k: number): Tensor {
  const [n, c, h, w] = x.shape as readonly [Dim, Dim, number, number];
  if (k === 1) return x;
  return reshape(broadcastTo(reshape(x, [n, c, h, 1, w, 1]), [n, c, h, k, w, k]), [n, c, h * k, w * k]);
}

/** How a pixel between the given ones is made; as torch's interpolate, without antialiasing. */
export type Interpolation = "nearest" | "bilinear" | "bicubic";

/**
 * The image at another size. Pixels are areas (torch's align_corners = false); what lies outside repeats the border.
 * @param size height and width of the result
 */
export function resize2d(x: Tensor, size: readonly [number, number], mode: Interpolation): Tensor {
  const [h, w] = [x.dim(2) as number, x.dim(3) as number];
  if (mode === "nearest") {
    const places = (from: number, to: number): Tensor =>
      constant(i32(Array.from({ length: to }, (_, i) => Math.min(from - 1, Math.floor((i * from) / to)))));
    return gather(gather(x, places(h, size[0]), 2), places(w, size[1]), 3);
  }
  const across = matmul(x, constant(interpolation(w, size[1], mode)), { transB: true });
  return matmul(constant(interpolation(h, size[0], mode)), across);
}

/** f32[to, from]: the weights of the given pixels in each new one. */
function interpolation(from: number, to: number, mode: "bilinear" | "bicubic"): HostTensor {
  const weights = new Float32Array(to * from);
  for (let i = 0; i < to; i++) {
    const at = ((i + 0.5) * from) / to - 0.5;
    const place = mode === "bilinear" ? Math.max(0, at) : at;
    const base = Math.floor(place);
    for (const [offset, weight] of taps(place - base, mode)) {
      const j = Math.min(from - 1, Math.max(0, base + offset));
      weights[i * from + j] = weights[i * from + j]! + weight;
    }
  }
  return f32(weights, [to, from]);
}

/** Offsets of the neighbours and their weights, `t` behind the first. */
function taps(t: number, mode: "bilinear" | "bicubic"): readonly (readonly [number, number])[] {
  if (mode === "bilinear")
    return [
      [0, 1 - t],
      [1, t],
    ];
  // Keys' kernel with a = −0.75.
  const a = -0.75;
  const near = (d: number): number => ((a + 2) * d - (a + 3)) * d * d + 1;
  const far = (d: number): number => ((a * d - 5 * a) * d + 8 * a) * d - 4 * a;
  return [
    [-1, far(1 + t)],
    [0, near(t)],
    [1, near(1 - t)],
    [2, far(2 - t)],
  ];
}
