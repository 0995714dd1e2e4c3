/** Two-dimensional convolution. The three forms below are each other's derivatives, so every order exists. NCHW, kernels OIHW. */
import { dimDiv, dimMul } from "../dims.js";
import { sizeOf } from "../dtype.js";
import type { Tf, TfTensor } from "../engines/tfjs-namespace.js";
import { LfmError } from "../errors.js";
import { apply1, type OpDef, type RefArray, type Tensor } from "../tensor.js";
import { add } from "./elementwise.js";
import { reshape } from "./movement.js";
import { requireDim, requireDtype, requireRank } from "./shape-rules.js";

interface ConvAttrs extends Record<string, unknown> {
  readonly stride: number;
  readonly padding: number;
  /** Consecutive input channels and output channels fall into this many groups that do not see each other. */
  readonly groups: number;
  /** Height and width of the image (inputGrad) or kernel (filterGrad) to produce. */
  readonly size?: readonly [number, number];
}

/** f32[n,c,h,w] ⋆ f32[o,c/groups,kh,kw] → f32[n,o,h',w'] with h' = ⌊(h + 2·padding − kh)/stride⌋ + 1. */
export const conv2dOp: OpDef<ConvAttrs> = {
  name: "conv2d",
  infer: ([x, w], { stride, padding, groups }) => {
    checkConv(x!, w!, groups);
    const [h, wd] = [x!.dim(2) as number, x!.dim(3) as number];
    const side = (n: number, k: number): number => Math.floor((n + 2 * padding - k) / stride) + 1;
    const shape = [x!.dim(0), w!.dim(0), side(h, w!.dim(2) as number), side(wd, w!.dim(3) as number)];
    if ((shape[2] as number) < 1 || (shape[3] as number) < 1)
      throw new LfmError("SHAPE_MISMATCH", `[@lfm/core] conv2d: kernel ${w} is larger than ${x}`);
    return [{ dtype: "f32", shape }];
  },
  vjp: (node, [g], wanted) => {
    const [x, w] = node.inputs as [Tensor, Tensor];
    const { size: _, ...attrs } = node.attrs;
    if (!g) return [];
    return [
      wanted[0] ? apply1(conv2dInputGradOp, [g, w], { ...attrs, size: spatial(x) }) : undefined,
      wanted[1] ? apply1(conv2dFilterGradOp, [x, g], { ...attrs, size: spatial(w) }) : undefined,
    ];
  },
  reference: ([x, w], attrs, [out]) => {
    const y = new Float64Array(sizeOf(out!.shape));
    forEachTap(x!.shape, w!.shape, out!.shape, attrs, (xi, wi, yi) => {
      y[yi] = y[yi]! + x!.data[xi]! * w!.data[wi]!;
    });
    return [y];
  },
  onnx: (b, inputs, node) => {
    const { stride, padding, groups } = node.attrs;
    return [b.node("Conv", inputs, { strides: pair(stride), pads: fourfold(padding), group: groups })];
  },
  tfjs: (tf, inputs, { stride, padding, groups }) => [
    perGroup(tf, inputs, [1, 0], 1, groups, (x, w) => {
      const y = tf.conv2d(tf.transpose(x, [0, 2, 3, 1]), tf.transpose(w, [2, 3, 1, 0]), stride, tfPad(padding));
      return tf.transpose(y, [0, 3, 1, 2]);
    }),
  ],
};

/** Transposed convolution: (dy f32[n,o,h',w'], w f32[o,c/groups,kh,kw]) → dx f32[n,c,h,w]. */
export const conv2dInputGradOp: OpDef<ConvAttrs> = {
  name: "conv2dInputGrad",
  infer: ([dy, w], { size, groups }) => {
    requireDim(dy!.dim(1), w!.dim(0), "conv2dInputGrad, output channels");
    return [{ dtype: "f32", shape: [dy!.dim(0), dimMul(w!.dim(1), groups), ...size!] }];
  },
  vjp: (node, [g], wanted) => {
    const [dy, w] = node.inputs as [Tensor, Tensor];
    const { size: _, ...attrs } = node.attrs;
    if (!g) return [];
    return [
      wanted[0] ? apply1(conv2dOp, [g, w], attrs) : undefined,
      wanted[1] ? apply1(conv2dFilterGradOp, [g, dy], { ...attrs, size: spatial(w) }) : undefined,
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
    const { stride, padding, groups, size } = node.attrs;
    // Rows that the forward stride skipped at the end come back as output padding.
    const extra = [0, 1].map((i) => size![i]! - ((dy.dim(2 + i) as number) - 1) * stride + 2 * padding - (w.dim(2 + i) as number));
    return [b.node("ConvTranspose", inputs, { strides: pair(stride), pads: fourfold(padding), output_padding: extra, group: groups })];
  },
  tfjs: (tf, inputs, { stride, padding, groups }, [out]) => {
    const [n, c, h, wd] = out!.shape;
    // Explicit padding of this kernel is not there on every backend: produce the padded image, then cut.
    const whole = [n, h! + 2 * padding, wd! + 2 * padding, c! / groups];
    const part = (dy: TfTensor, w: TfTensor): TfTensor => {
      const padded = tf.conv2dTranspose(tf.transpose(dy, [0, 2, 3, 1]), tf.transpose(w, [2, 3, 1, 0]), whole, stride, "valid");
      return tf.transpose(tf.slice(padded, [0, padding, padding, 0], [n, h, wd, whole[3]]), [0, 3, 1, 2]);
    };
    return [perGroup(tf, inputs, [1, 0], 1, groups, part)];
  },
};

/** (x f32[n,c,h,w], dy f32[n,o,h',w']) → dw f32[o,c/groups,kh,kw]. */
export const conv2dFilterGradOp: OpDef<ConvAttrs> = {
  name: "conv2dFilterGrad",
  infer: ([x, dy], { size, groups }) => {
    requireDim(x!.dim(0), dy!.dim(0), "conv2dFilterGrad, batch");
    return [{ dtype: "f32", shape: [dy!.dim(1), dimDiv(x!.dim(1), groups), ...size!] }];
  },
  vjp: (node, [g], wanted) => {
    const [x, dy] = node.inputs as [Tensor, Tensor];
    const { size: _, ...attrs } = node.attrs;
    if (!g) return [];
    return [
      wanted[0] ? apply1(conv2dInputGradOp, [dy, g], { ...attrs, size: spatial(x) }) : undefined,
      wanted[1] ? apply1(conv2dOp, [x, g], attrs) : undefined,
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
    const { stride, padding, groups, size } = node.attrs;
    const [n, c, h, wd] = node.inputs[0]!.shape;
    const swap = (v: string): string => b.node("Transpose", [v], { perm: [1, 0, 2, 3] });
    const inGroup = dimDiv(c!, groups);
    const byGroup = (): string => {
      const split = b.node("Reshape", [x!, b.dims([n!, groups, inGroup, h!, wd!])]);
      return b.node("Reshape", [b.node("Transpose", [split], { perm: [2, 1, 0, 3, 4] }), b.dims([inGroup, dimMul(n!, groups), h!, wd!])]);
    };
    const images = groups === 1 ? swap(x!) : byGroup();
    const full = b.node("Conv", [images, swap(dy!)], { dilations: pair(stride), pads: fourfold(padding), group: groups });
    return [swap(b.node("Slice", [full, b.i64([0, 0]), b.i64([...size!]), b.i64([2, 3])]))];
  },
  tfjs: (tf, inputs, { stride, padding, size, groups }) => [
    perGroup(tf, inputs, [1, 1], 0, groups, (x, dy) => {
      // dilated kernels are not there on every backend: spread dy by hand, then convolve
      const dyT = spreadRows(tf, tf.transpose(dy, [2, 3, 0, 1]), stride);
      const full = tf.conv2d(tf.transpose(x, [1, 2, 3, 0]), dyT, 1, tfPad(padding));
      const cut = tf.slice(full, [0, 0, 0, 0], [full.shape[0], size![0], size![1], full.shape[3]]);
      return tf.transpose(cut, [3, 0, 1, 2]);
    }),
  ],
};

/** Runs each group for itself: not every backend has grouped kernels. `axes`: where the operands' groups lie; `axis`: where the result's do. */
function perGroup(
  tf: Tf,
  [x, y]: readonly TfTensor[],
  axes: readonly [number, number],
  axis: number,
  groups: number,
  part: (x: TfTensor, y: TfTensor) => TfTensor,
): TfTensor {
  if (groups === 1) return part(x!, y!);
  const [xs, ys] = [tf.split(x, groups, axes[0]) as TfTensor[], tf.split(y, groups, axes[1]) as TfTensor[]];
  return tf.concat(
    xs.map((v, i) => part(v, ys[i]!)),
    axis,
  );
}

function spreadRows(tf: Tf, dy: TfTensor, stride: number): TfTensor {
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

function checkConv(x: Tensor, w: Tensor, groups: number): void {
  requireDtype(x, ["f32"], "conv2d");
  requireRank(x, 4, "conv2d");
  requireRank(w, 4, "conv2d");
  requireDim(x.dim(1), dimMul(w.dim(1), groups), "conv2d, input channels");
  if ((w.dim(0) as number) % groups !== 0)
    throw new LfmError("SHAPE_MISMATCH", `[@lfm/core] conv2d: ${w.dim(0)} output channels do not fall into ${groups} groups`);
  if ([x.dim(2), x.dim(3)].some((d) => typeof d !== "number"))
    throw new LfmError("SHAPE_MISMATCH", `[@lfm/core] conv2d: height and width must be concrete, got ${x}`);
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
  { stride, padding, groups }: ConvAttrs,
  visit: (x: number, w: number, y: number) => void,
): void {
  const [n, c, h, wd] = xs as [number, number, number, number];
  const [o, inGroup, kh, kw] = ws as [number, number, number, number];
  const [, , oh, ow] = ys as [number, number, number, number];
  for (let b = 0; b < n; b++)
    for (let oc = 0; oc < o; oc++)
      for (let i = 0; i < oh; i++)
        for (let j = 0; j < ow; j++)
          for (let ic = 0; ic < inGroup; ic++)
            for (let p = 0; p < kh; p++)
              for (let q = 0; q < kw; q++) {
                const [r, s] = [i * stride - padding + p, j * stride - padding + q];
                if (r < 0 || s < 0 || r >= h || s >= wd) continue;
                const channel = Math.floor((oc * groups) / o) * inGroup + ic;
                visit(((b * c + channel) * h + r) * wd + s, ((oc * inGroup + ic) * kh + p) * kw + q, ((b * o + oc) * oh + i) * ow + j);
              }
}

export interface Conv2dOptions {
  readonly stride?: number;
  /** Zeros on each side. Default 0. */
  readonly padding?: number;
  /** Default 1; as many as channels for a depthwise convolution. */
  readonly groups?: number;
}

/** x — f32[n,c,h,w]; w — f32[o,c/groups,kh,kw]; bias — f32[o]. */
export function conv2d(x: Tensor, w: Tensor, bias?: Tensor, options: Conv2dOptions = {}): Tensor {
  const y = apply1(conv2dOp, [x, w], { stride: options.stride ?? 1, padding: options.padding ?? 0, groups: options.groups ?? 1 });
  return bias ? add(y, reshape(bias, [1, bias.dim(0), 1, 1])) : y;
}
