import { quantizeToBlocks } from "../block-weights.js";
import { bool, f32, type HostTensor, i32 } from "../dtype.js";
import { blockMatmulOp, blockValuesOp } from "../ops/block-weights.js";
import * as o from "../ops/index.js";
import { quantizeWeight } from "../quantize.js";
import { Rng } from "../rng.js";
import { apply, constant, type Tensor } from "../tensor.js";
import { isHostTensor } from "../trace.js";
import { mapTree } from "../tree.js";

/** A call of an op on small inputs: enough to check every engine and, where it is differentiable, its derivatives. */
export interface OpSample {
  readonly inputs: readonly HostTensor[];
  readonly call: (...xs: Tensor[]) => Tensor | readonly Tensor[];
  /** Steps of finite differences cross a kink of higher derivatives here: only the first is checked. */
  readonly firstOrderOnly?: string;
}

const rng = new Rng(11);
const normal = (...shape: number[]): HostTensor => f32(rng.normalArray(shape.reduce((a, b) => a * b, 1)), shape);
/** Away from 0, so that finite differences stay on one side of kinks and poles. */
const positive = (...shape: number[]): HostTensor =>
  f32(
    rng.uniformArray(
      shape.reduce((a, b) => a * b, 1),
      0.5,
      2,
    ),
    shape,
  );
const apart = (...shape: number[]): HostTensor => {
  const n = shape.reduce((a, b) => a * b, 1);
  return f32(new Rng(n).shuffle(Array.from({ length: n }, (_, i) => (i - n / 2 + 0.3) * 0.37)), shape);
};
const index = (n: number, ...shape: number[]): HostTensor =>
  i32(
    Array.from({ length: shape.reduce((a, b) => a * b, 1) }, (_, i) => (i * 7 + 1) % n),
    shape,
  );
const positions = (...at: number[]): HostTensor => i32(at);
const flags = (...shape: number[]): HostTensor =>
  bool(
    Array.from({ length: shape.reduce((a, b) => a * b, 1) }, (_, i) => i % 3 !== 0),
    shape,
  );

const bytes = (...shape: number[]): HostTensor => ({
  dtype: "i8",
  shape,
  data: Int8Array.from({ length: shape.reduce((a, b) => a * b, 1) }, (_, i) => ((i * 37) % 255) - 127),
});

/** Of blocks of 16. */
const codes = (bits: number, rows: number, blocks: number): HostTensor => ({
  dtype: "u8",
  shape: [rows, blocks, 2 * bits],
  data: Uint8Array.from({ length: rows * blocks * 2 * bits }, (_, i) => (i * 37 + 5) % 256),
});

const unary = (f: (x: Tensor) => Tensor, input = apart(3, 4)): OpSample[] => [{ inputs: [input], call: f }];
const binary = (f: (x: Tensor, y: Tensor) => Tensor, a = apart(3, 4), b = normal(4)): OpSample[] => [
  { inputs: [a, b], call: f },
  { inputs: [b, a], call: f },
];

const convolutions = [
  { stride: 1, groups: 1, out: 3 },
  { stride: 2, groups: 1, out: 3 },
  { stride: 2, groups: 2, out: 4 },
];

/** Samples by op name; the completeness test fails for an op without one. */
export const opSamples: Readonly<Record<string, readonly OpSample[]>> = {
  neg: unary(o.neg),
  abs: unary(o.abs),
  sign: unary(o.sign),
  floor: unary(o.floor),
  ceil: unary(o.ceil),
  round: unary(o.round),
  exp: unary(o.exp),
  log: unary(o.log, positive(3, 4)),
  sqrt: unary(o.sqrt, positive(3, 4)),
  rsqrt: unary(o.rsqrt, positive(3, 4)),
  reciprocal: unary(o.reciprocal, positive(3, 4)),
  square: unary(o.square),
  sin: unary(o.sin),
  cos: unary(o.cos),
  tanh: unary(o.tanh),
  sigmoid: unary(o.sigmoid),
  erf: unary(o.erf),
  relu: unary(o.relu),
  softplus: unary(o.softplus),
  gelu: unary(o.gelu),
  geluTanh: unary(o.geluTanh),
  silu: unary(o.silu),
  stopGradient: unary(o.stopGradient),
  logicalNot: [{ inputs: [flags(3, 4)], call: (x) => o.logicalNot(x) }],
  add: binary(o.add),
  sub: binary(o.sub),
  mul: binary(o.mul),
  div: binary(o.div, apart(3, 4), positive(3, 4)),
  pow: binary(o.pow, positive(3, 4), positive(4)),
  maximum: binary(o.maximum),
  minimum: binary(o.minimum),
  equal: binary(o.equal, index(3, 3, 4), index(3, 4)),
  less: binary(o.less),
  lessEqual: binary(o.lessEqual),
  greater: binary(o.greater),
  greaterEqual: binary(o.greaterEqual),
  logicalAnd: [{ inputs: [flags(3, 4), flags(4)], call: o.logicalAnd }],
  logicalOr: [{ inputs: [flags(3, 4), flags(4)], call: o.logicalOr }],
  where: [{ inputs: [flags(3, 4), normal(3, 4), normal(4)], call: o.where }],
  cast: [
    { inputs: [apart(5)], call: (x) => o.cast(x, "i32") },
    { inputs: [index(9, 5)], call: (x) => o.cast(x, "f32") },
  ],
  matmul: [false, true]
    .flatMap((transA) =>
      [false, true].map((transB) => ({
        inputs: [normal(...(transA ? [2, 3, 4] : [2, 4, 3])), normal(...(transB ? [5, 3] : [3, 5]))],
        call: (a: Tensor, b: Tensor) => o.matmul(a, b, { transA, transB }),
      })),
    )
    .concat([{ inputs: [normal(2, 2, 4, 3), normal(2, 1, 3, 2)], call: (a, b) => o.matmul(a, b) }]),
  gemm: [false, true].map((t) => ({
    inputs: [normal(4, 3), normal(...(t ? [5, 3] : [3, 5])), normal(5)],
    call: (x: Tensor, w: Tensor, b: Tensor) => o.linear(x, w, b, t ? "out-in" : "in-out"),
  })),
  sum: unary((x) => o.sum(x, 1)),
  mean: unary((x) => o.mean(x, 0)),
  max: unary((x) => o.max(x, 1)),
  min: unary((x) => o.min(x, [0, 1])),
  logSumExp: unary((x) => o.logSumExp(x, 1)),
  argMax: unary((x) => o.argMax(x, 1)),
  cumSum: unary((x) => o.cumSum(x, 1)),
  topK: [
    {
      inputs: [apart(3, 5)],
      call: (x) => {
        const t = o.topK(x, 2);
        return [t.values, t.indices];
      },
    },
  ],
  reshape: unary((x) => o.reshape(x, [2, 6])),
  transpose: unary((x) => o.transpose(x)),
  broadcastTo: unary((x) => o.broadcastTo(x, [2, 3, 4])),
  concat: binary((x, y) => o.concat([x, y], 0), normal(3, 4), normal(2, 4)),
  split: [{ inputs: [normal(3, 5)], call: (x) => o.split(x, 1, [2, 3]) }],
  slice: unary((x) => o.slice(x, 1, 1, 2)),
  pad: unary((x) => o.pad(x, 0, 1, 2)),
  flip: unary((x) => o.flip(x, 1)),
  gather: [
    { inputs: [normal(4, 3), index(4, 2, 5)], call: (x, i) => o.gather(x, i) },
    { inputs: [normal(3, 4), index(4, 6)], call: (x, i) => o.gather(x, i, 1) },
    { inputs: [normal(600, 1), positions(7, 599, 0)], call: (x, i) => o.gather(x, i, 0, { distinct: true }) },
  ],
  scatterAdd: [
    { inputs: [normal(2, 9, 3), index(700, 9)], call: (u, i) => apply(o.scatterAddOp, [i, u], { axis: 1, size: 700, distinct: false }) },
    { inputs: [normal(2, 5, 3), index(4, 2, 5)], call: (u, i) => apply(o.scatterAddOp, [i, u], { axis: 0, size: 4, distinct: false }) },
    { inputs: [normal(3, 2), positions(4, 0, 3)], call: (u, i) => apply(o.scatterAddOp, [i, u], { axis: 0, size: 5, distinct: true }) },
  ],
  gatherElements: [{ inputs: [normal(3, 5), index(5, 3, 7)], call: (x, i) => o.gatherElements(x, i, 1) }],
  scatterElementsAdd: [{ inputs: [normal(3, 7), index(5, 3, 7)], call: (u, i) => o.scatterElementsAdd(i, u, 1, 5) }],
  addElements: [{ inputs: [normal(3, 5), index(5, 3, 7), normal(3, 7)], call: (x, i, u) => o.addElements(x, i, u, 1) }],
  crossEntropy: [{ inputs: [normal(2, 3, 5), i32([0, 4, -100, 2, 2, -100], [2, 3])], call: (x, l) => apply(o.crossEntropyOp, [x, l], {}) }],
  iota: [{ inputs: [normal(2)], call: () => o.iota(5) }],
  dimScalar: [{ inputs: [normal(2)], call: () => o.dimScalar(7) }],
  softmax: unary((x) => o.softmax(x)),
  logSoftmax: unary((x) => o.logSoftmax(x)),
  causalAttention: [
    // heads that ONNX Runtime's kernel takes, grouped and with a bias, and heads too narrow for it
    {
      inputs: [normal(2, 2, 8), normal(2, 2, 8), normal(2, 2, 8)],
      call: (q, k, v) => apply(o.causalAttentionOp, [q, k, v], { heads: 1, kvHeads: 1, scale: 0.4 }),
    },
    {
      inputs: [normal(1, 3, 16), normal(1, 3, 8), normal(1, 3, 8), normal(1, 1, 3, 3)],
      call: (q, k, v, b) => apply(o.causalAttentionOp, [q, k, v, b], { heads: 2, kvHeads: 1, scale: 0.4 }),
    },
    {
      inputs: [normal(2, 3, 4), normal(2, 3, 2), normal(2, 3, 2), normal(1, 1, 3, 3)],
      call: (q, k, v, b) => apply(o.causalAttentionOp, [q, k, v, b], { heads: 4, kvHeads: 2, scale: 0.7 }),
    },
  ],
  rotary: [
    // one head, and three
    { inputs: [normal(1, 3, 4), normal(1, 3, 2), normal(1, 3, 2)], call: (x, c, s) => apply(o.rotaryOp, [x, c, s], {}) },
    { inputs: [normal(2, 3, 12), normal(2, 3, 2), normal(2, 3, 2)], call: (x, c, s) => apply(o.rotaryOp, [x, c, s], {}) },
  ],
  layerNorm: [{ inputs: [normal(2, 3, 4), normal(4), normal(4)], call: (x, s, b) => apply(o.layerNormOp, [x, s, b], { epsilon: 1e-2 }) }],
  rmsNorm: [{ inputs: [normal(2, 3, 4), normal(4)], call: (x, s) => apply(o.rmsNormOp, [x, s], { epsilon: 1e-2 }) }],
  conv2d: convolutions.map(({ stride, groups, out }) => ({
    inputs: [normal(2, 2, 4, 5), normal(out, 2 / groups, 3, 3)],
    call: (x: Tensor, w: Tensor) => o.conv2d(x, w, undefined, { stride, padding: 1, groups }),
  })),
  conv2dInputGrad: convolutions.map(({ stride, groups, out }) => ({
    inputs: [normal(2, out, 4 / stride, stride === 1 ? 5 : 3), normal(out, 2 / groups, 3, 3)],
    call: (g: Tensor, w: Tensor) => apply(o.conv2dInputGradOp, [g, w], { stride, padding: 1, groups, size: [4, 5] as const }),
  })),
  conv2dFilterGrad: convolutions.map(({ stride, groups, out }) => ({
    inputs: [normal(2, 2, 4, 5), normal(2, out, 4 / stride, stride === 1 ? 5 : 3)],
    call: (x: Tensor, g: Tensor) => apply(o.conv2dFilterGradOp, [x, g], { stride, padding: 1, groups, size: [3, 3] as const }),
  })),
  dequantize: [
    { inputs: [bytes(3, 4), positive(3)], call: (q, s) => o.dequantize(q, s, 0) },
    { inputs: [bytes(2, 3, 4), positive(4)], call: (q, s) => o.dequantize(q, s, -1) },
  ],
  dequantizeBlocks: (["nf4", "int4"] as const).map((book) => ({
    inputs: [{ dtype: "u8", shape: [16], data: Uint8Array.from({ length: 16 }, (_, i) => (i * 37 + 5) % 256) }, positive(4)],
    call: (q: Tensor, s: Tensor) => o.dequantizeBlocks(q, s, [8, 4], book),
  })),
  quantizedMatmul: [[], [1, 6]].map((columns) => {
    const w = quantizeWeight(normal(8, 5), { layout: "in-out", columns, gradientColumns: columns.slice(1).map((c) => c - 3) });
    return { inputs: [normal(2, 3, 8)], call: (x: Tensor) => o.quantizedMatmul(x, mapTree(w, isHostTensor, constant)) };
  }),
  blockValues: [8, 4].map((bits) => ({
    inputs: [codes(bits, 3, 2), positive(3, 2), normal(3, 2)].slice(0, bits === 8 ? 2 : 3),
    call: (...xs: Tensor[]) => apply(blockValuesOp, xs, { block: 16 }),
  })),
  blockMatmul: [8, 4].flatMap((bits) =>
    [false, true].map((rounded) => {
      const [x, scale] = [normal(5, 32), positive(3, 2)];
      const call = (x: Tensor): Tensor[] => [
        ...apply(blockMatmulOp, [x, constant(codes(bits, 3, 2)), constant(scale)], { block: 16, rounded }),
      ];
      return { inputs: [x], call };
    }),
  ),
  storedBlocks: (["in-out", "out-in"] as const).flatMap((layout) =>
    [{}, { bits: 8, columns: [3, 20] } as const].map((options) => {
      const { matrix, block } = quantizeToBlocks(normal(6, 32), options);
      const stored = (): Tensor => o.storedBlocks(mapTree(matrix, isHostTensor, constant), { layout, block });
      return {
        inputs: [normal(...(layout === "out-in" ? [6, 32] : [32, 6]))],
        call: (x: Tensor) => [o.mul(x, stored()), o.gather(stored(), constant(index(6, 2, 2)))],
      };
    }),
  ),
  storedWeight: (["in-out", "out-in"] as const).map((layout) => {
    const w = quantizeWeight(normal(6, 5), { layout, columns: [1, 4], transposed: false });
    const stored = (): Tensor => o.storedWeight(mapTree(w, isHostTensor, constant), layout);
    return { inputs: [normal(6, 5)], call: (x: Tensor) => [o.mul(x, stored()), o.gather(stored(), constant(index(6, 2, 2)))] };
  }),
  inverse: [
    // The second matrix needs another pivot than its diagonal.
    { inputs: [f32([4, 1, -1, 0.5, 3, 0.7, -0.2, 1, 5, 0, 2, 1, 1.5, 0.1, 2, 1, -1, 0.5], [2, 3, 3])], call: (x) => o.inverse(x) },
  ],
  barrier: binary((x, y) => o.mul(o.barrier(x, [y, o.sum(x)]), y)),
  recompute: [
    {
      inputs: [normal(2, 3), normal(3, 3), normal(2, 3)],
      call: (x, w, c) => {
        const { y, z } = o.recompute(({ x }) => ({ y: o.tanh(o.matmul(x, w)), z: o.mul(o.sin(x), c) }), { x });
        return [o.square(y), o.add(z, x)];
      },
    },
  ],
  randomUniform: [2, 4294967295].map((stream) => ({ inputs: [i32([5], [])], call: (k) => o.randomUniform(k!, [3, 4], stream) })),
};
