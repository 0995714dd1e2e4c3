/** Two-dimensional convolution. The three forms below are each other's derivatives, so every order exists. NCHW, kernels OIHW. */
import { type Dim, dimEqual } from "../dims.js";
import { sizeOf } from "../dtype.js";
import { LfmError } from "../errors.js";
import { apply1, type OpDef, type RefArray, type Tensor } from "../tensor.js";
import { add } from "./elementwise.js";
import { broadcastTo, reshape, slice } from "./movement.js";
import { max, mean } from "./reduce.js";
import { requireDim, requireDtype, requireRank } from "./shape-rules.js";

interface ConvAttrs extends Record<string, unknown> {
  readonly stride: number;
  readonly padding: number;
  /** Height and width of the image (inputGrad) or kernel (filterGrad) to produce. */
  readonly size?: readonly [number, number];
}

/** f32[n,c,h,w] ⋆ f32[o,c,kh,kw] → f32[n,o,h',w'] with h' = ⌊(h + 2·padding − kh)/stride⌋ + 1. */
export const conv2dOp: OpDef<ConvAttrs> = {
  name: "conv2d",
  infer: ([x, w], { stride, padding }) => {
    checkConv(x!, w!, "conv2d");
    const [h, wd] = [x!.dim(2) as number, x!.dim(3) as number];
    const side = (n: number, k: number): number => Math.floor((n + 2 * padding - k) / stride) + 1;
    const shape = [x!.dim(0), w!.dim(0), side(h, w!.dim(2) as number), side(wd, w!.dim(3) as number)];
    if ((shape[2] as number) < 1 || (shape[3] as number) < 1)
      throw new LfmError("SHAPE_MISMATCH", `[@lfm/core] conv2d: kernel ${w} is larger than ${x}`);
    return [{ dtype: "f32", shape }];
  },
  vjp: (node, [g], wanted) => {
    const [x, w] = node.inputs as [Tensor, Tensor];
    const { stride, padding } = node.attrs;
    if (!g) return [];
    return [
      wanted[0] ? apply1(conv2dInputGradOp, [g, w], { stride, padding, size: spatial(x) }) : undefined,
      wanted[1] ? apply1(conv2dFilterGradOp, [x, g], { stride, padding, size: spatial(w) }) : undefined,
    ];
  },
  reference: ([x, w], attrs, [out]) => {
    const y = new Float64Array(sizeOf(out!.shape));
    forEachTap(x!.shape, w!.shape, out!.shape, attrs, (xi, wi, yi) => {
      y[yi] = y[yi]! + x!.data[xi]! * w!.data[wi]!;
    });
    return [y];
  },
  onnx: (b, inputs, node) => [b.node("Conv", inputs, { strides: pair(node.attrs.stride), pads: fourfold(node.attrs.padding) })],
  tfjs: (tf, [x, w], { stride, padding }) => {
    const y = tf.conv2d(tf.transpose(x, [0, 2, 3, 1]), tf.transpose(w, [2, 3, 1, 0]), stride, tfPad(padding));
    return [tf.transpose(y, [0, 3, 1, 2])];
  },
};

/** Transposed convolution: (dy f32[n,o,h',w'], w f32[o,c,kh,kw]) → dx f32[n,c,h,w]. */
export const conv2dInputGradOp: OpDef<ConvAttrs> = {
  name: "conv2dInputGrad",
  infer: ([dy, w], { size }) => {
    requireDim(dy!.dim(1), w!.dim(0), "conv2dInputGrad, output channels");
    return [{ dtype: "f32", shape: [dy!.dim(0), w!.dim(1), ...size!] }];
  },
  vjp: (node, [g], wanted) => {
    const [dy, w] = node.inputs as [Tensor, Tensor];
    const { stride, padding } = node.attrs;
    if (!g) return [];
    return [
      wanted[0] ? apply1(conv2dOp, [g, w], { stride, padding }) : undefined,
      wanted[1] ? apply1(conv2dFilterGradOp, [g, dy], { stride, padding, size: spatial(w) }) : undefined,
    ];
  },
  reference: ([dy, w], attrs, [out]) => {
    const dx = new Float64Array(sizeOf(out!.shape));
    forEachTap(out!.shape, w!.shape, dy!.shape, attrs, (xi, wi, yi) => {
      dx[xi] = dx[xi]! + dy!.data[yi]! * w!.data[wi]!;
    });
    return [dx];
  },
  onnx: (b, inputs, node) => {
    const [dy, w] = node.inputs as [Tensor, Tensor];
    const { stride, padding, size } = node.attrs;
    // Rows that the forward stride skipped at the end come back as output padding.
    const extra = [0, 1].map((i) => size![i]! - ((dy.dim(2 + i) as number) - 1) * stride + 2 * padding - (w.dim(2 + i) as number));
    return [b.node("ConvTranspose", inputs, { strides: pair(stride), pads: fourfold(padding), output_padding: extra })];
  },
  tfjs: (tf, [dy, w], { stride, padding }, [out]) => {
    const [n, c, h, wd] = out!.shape;
    // Explicit padding of this kernel is not there on every backend: produce the padded image, then cut.
    const whole = [n, h! + 2 * padding, wd! + 2 * padding, c];
    const padded = tf.conv2dTranspose(tf.transpose(dy, [0, 2, 3, 1]), tf.transpose(w, [2, 3, 1, 0]), whole, stride, "valid");
    const dx = tf.slice(padded, [0, padding, padding, 0], [n, h, wd, c]);
    return [tf.transpose(dx, [0, 3, 1, 2])];
  },
};

/** (x f32[n,c,h,w], dy f32[n,o,h',w']) → dw f32[o,c,kh,kw]. */
export const conv2dFilterGradOp: OpDef<ConvAttrs> = {
  name: "conv2dFilterGrad",
  infer: ([x, dy], { size }) => {
    requireDim(x!.dim(0), dy!.dim(0), "conv2dFilterGrad, batch");
    return [{ dtype: "f32", shape: [dy!.dim(1), x!.dim(1), ...size!] }];
  },
  vjp: (node, [g], wanted) => {
    const [x, dy] = node.inputs as [Tensor, Tensor];
    const { stride, padding } = node.attrs;
    if (!g) return [];
    return [
      wanted[0] ? apply1(conv2dInputGradOp, [dy, g], { stride, padding, size: spatial(x) }) : undefined,
      wanted[1] ? apply1(conv2dOp, [x, g], { stride, padding }) : undefined,
    ];
  },
  reference: ([x, dy], attrs, [out]) => {
    const dw = new Float64Array(sizeOf(out!.shape));
    forEachTap(x!.shape, out!.shape, dy!.shape, attrs, (xi, wi, yi) => {
      dw[wi] = dw[wi]! + x!.data[xi]! * dy!.data[yi]!;
    });
    return [dw];
  },
  onnx: (b, [x, dy], node) => {
    // A convolution over the batch: images as channels, dy as the kernel, dilated by the forward stride.
    const { stride, padding, size } = node.attrs;
    const [xt, dyt] = [b.node("Transpose", [x!], { perm: [1, 0, 2, 3] }), b.node("Transpose", [dy!], { perm: [1, 0, 2, 3] })];
    const full = b.node("Conv", [xt, dyt], { dilations: pair(stride), pads: fourfold(padding) });
    const cut = b.node("Slice", [full, b.i64([0, 0]), b.i64([...size!]), b.i64([2, 3])]);
    return [b.node("Transpose", [cut], { perm: [1, 0, 2, 3] })];
  },
  tfjs: (tf, [x, dy], { stride, padding, size }) => {
    // dilated kernels are not there on every backend: spread dy by hand, then convolve
    const dyT = spreadRows(tf, tf.transpose(dy, [2, 3, 0, 1]), stride);
    const full = tf.conv2d(tf.transpose(x, [1, 2, 3, 0]), dyT, 1, tfPad(padding));
    const cut = tf.slice(full, [0, 0, 0, 0], [full.shape[0], size![0], size![1], full.shape[3]]);
    return [tf.transpose(cut, [3, 0, 1, 2])];
  },
};

// biome-ignore lint/suspicious/noExplicitAny: the optional peer has no types here
function spreadRows(tf: any, dy: any, stride: number): any {
  if (stride === 1) return dy;
  const [h, w, n, o] = dy.shape as [number, number, number, number];
  const padded = tf.pad(tf.reshape(dy, [h, 1, w, 1, n * o]), [
    [0, 0],
    [0, stride - 1],
    [0, 0],
    [0, stride - 1],
    [0, 0],
  ]);
  const spread = tf.reshape(padded, [h * stride, w * stride, n, o]);
  return tf.slice(spread, [0, 0, 0, 0], [h * stride - stride + 1, w * stride - stride + 1, n, o]);
}

function checkConv(x: Tensor, w: Tensor, op: string): void {
  requireDtype(x, ["f32"], op);
  requireRank(x, 4, op);
  requireRank(w, 4, op);
  requireDim(x.dim(1), w.dim(1), `${op}, input channels`);
  if ([x.dim(2), x.dim(3)].some((d) => typeof d !== "number"))
    throw new LfmError("SHAPE_MISMATCH", `[@lfm/core] ${op}: height and width must be concrete, got ${x}`);
}

function spatial(x: Tensor): [number, number] {
  return [x.dim(2) as number, x.dim(3) as number];
}

const pair = (n: number): number[] => [n, n];
const fourfold = (n: number): number[] => [n, n, n, n];
const tfPad = (n: number): unknown =>
  n === 0
    ? "valid"
    : [
        [0, 0],
        [n, n],
        [n, n],
        [0, 0],
      ];

/** Visits every product of a convolution: offsets into image, kernel and result. */
function forEachTap(
  xs: RefArray["shape"],
  ws: RefArray["shape"],
  ys: RefArray["shape"],
  { stride, padding }: ConvAttrs,
  visit: (x: number, w: number, y: number) => void,
): void {
  const [n, c, h, wd] = xs as [number, number, number, number];
  const [o, , kh, kw] = ws as [number, number, number, number];
  const [, , oh, ow] = ys as [number, number, number, number];
  for (let b = 0; b < n; b++)
    for (let oc = 0; oc < o; oc++)
      for (let i = 0; i < oh; i++)
        for (let j = 0; j < ow; j++)
          for (let ic = 0; ic < c; ic++)
            for (let p = 0; p < kh; p++)
              for (let q = 0; q < kw; q++) {
                const [r, s] = [i * stride - padding + p, j * stride - padding + q];
                if (r < 0 || s < 0 || r >= h || s >= wd) continue;
                visit(((b * c + ic) * h + r) * wd + s, ((oc * c + ic) * kh + p) * kw + q, ((b * o + oc) * oh + i) * ow + j);
              }
}

/** x — f32[n,c,h,w]; w — f32[o,c,kh,kw]; bias — f32[o]. */
export function conv2d(x: Tensor, w: Tensor, bias?: Tensor, options: { readonly stride?: number; readonly padding?: number } = {}): Tensor {
  const y = apply1(conv2dOp, [x, w], { stride: options.stride ?? 1, padding: options.padding ?? 0 });
  return bias ? add(y, reshape(bias, [1, bias.dim(0), 1, 1])) : y;
}

/** Non-overlapping windows of side k as [n, c, h/k, k, w/k, k]; rows and columns that do not fill a window are cut. */
function windows(x: Tensor, k: number): Tensor {
  const [n, c, h, w] = x.shape as readonly [Dim, Dim, number, number];
  const [rows, columns] = [Math.floor(h / k), Math.floor(w / k)];
  const cut = slice(slice(x, 2, 0, rows * k), 3, 0, columns * k);
  return reshape(cut, [n, c, rows, k, columns, k]);
}

/** Largest value of each k×k window, stride k. Tied values share the gradient. */
export function maxPool2d(x: Tensor, k: number): Tensor {
  return max(windows(x, k), [3, 5]);
}

/** Mean of each k×k window, stride k. */
export function avgPool2d(x: Tensor, k: number): Tensor {
  return mean(windows(x, k), [3, 5]);
}

/** Repeats every pixel k×k times. */
export function upsample2d(x: Tensor, k: number): Tensor {
  const [n, c, h, w] = x.shape as readonly [Dim, Dim, number, number];
  if (dimEqual(k, 1)) return x;
  return reshape(broadcastTo(reshape(x, [n, c, h, 1, w, 1]), [n, c, h, k, w, k]), [n, c, h * k, w * k]);
}
