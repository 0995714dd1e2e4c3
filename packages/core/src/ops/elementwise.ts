/** Unary and binary operations with NumPy broadcasting. Derivatives stand beside each. */
import type { Dim } from "../dims.js";
import type { DType } from "../dtype.js";
import type { Tf, TfTensor } from "../engines/tfjs-namespace.js";
import { LfmError } from "../errors.js";
import { onnxDtype } from "../onnx/lowering.js";
import { apply1, asTensor, type OpDef, type Operand, scalarValue, Tensor } from "../tensor.js";
import { broadcastTo, sumTo } from "./movement.js";
import { erfReference, mapBroadcast, roundHalfEven } from "./reference-loops.js";
import { broadcastShapes, requireDtype } from "./shape-rules.js";
import { erfTolerance, none, one, type UnaryAttrs, unary } from "./unary.js";

const arithmetic: readonly DType[] = ["f32", "i32"];

export const negOp = unary({ name: "neg", f: (x) => -x, vjp: (g) => neg(g), onnx: "Neg", tfjs: (tf, x) => tf.neg(x), dtypes: arithmetic });
export const absOp = unary({
  name: "abs",
  f: Math.abs,
  vjp: (g, x) => mul(g, sign(x)),
  onnx: "Abs",
  tfjs: (tf, x) => tf.abs(x),
  dtypes: arithmetic,
});
export const signOp = unary({ name: "sign", f: Math.sign, vjp: undefined, onnx: "Sign", tfjs: (tf, x) => tf.sign(x), dtypes: arithmetic });
export const floorOp = unary({ name: "floor", f: Math.floor, vjp: undefined, onnx: "Floor", tfjs: (tf, x) => tf.floor(x) });
export const ceilOp = unary({ name: "ceil", f: Math.ceil, vjp: undefined, onnx: "Ceil", tfjs: (tf, x) => tf.ceil(x) });
/** Half to even, as ONNX and tfjs do. */
export const roundOp = unary({ name: "round", f: roundHalfEven, vjp: undefined, onnx: "Round", tfjs: (tf, x) => tf.round(x) });
export const expOp = unary({ name: "exp", f: Math.exp, vjp: (g, _x, y) => mul(g, y), onnx: "Exp", tfjs: (tf, x) => tf.exp(x) });
export const logOp = unary({ name: "log", f: Math.log, vjp: (g, x) => div(g, x), onnx: "Log", tfjs: (tf, x) => tf.log(x) });
export const sqrtOp = unary({
  name: "sqrt",
  f: Math.sqrt,
  vjp: (g, _x, y) => div(mul(g, 0.5), y),
  onnx: "Sqrt",
  tfjs: (tf, x) => tf.sqrt(x),
});
export const rsqrtOp = unary({
  name: "rsqrt",
  f: (x) => 1 / Math.sqrt(x),
  vjp: (g, _x, y) => mul(mul(g, -0.5), mul(y, square(y))),
  onnx: (b, x) => b.node("Reciprocal", [b.node("Sqrt", [x])]),
  tfjs: (tf, x) => tf.rsqrt(x),
});
export const reciprocalOp = unary({
  name: "reciprocal",
  f: (x) => 1 / x,
  vjp: (g, _x, y) => neg(mul(g, square(y))),
  onnx: "Reciprocal",
  tfjs: (tf, x) => tf.reciprocal(x),
});
export const squareOp = unary({
  name: "square",
  f: (x) => x * x,
  vjp: (g, x) => mul(mul(g, 2), x),
  onnx: (b, x) => b.node("Mul", [x, x]),
  tfjs: (tf, x) => tf.square(x),
});
export const sinOp = unary({ name: "sin", f: Math.sin, vjp: (g, x) => mul(g, cos(x)), onnx: "Sin", tfjs: (tf, x) => tf.sin(x) });
export const cosOp = unary({ name: "cos", f: Math.cos, vjp: (g, x) => neg(mul(g, sin(x))), onnx: "Cos", tfjs: (tf, x) => tf.cos(x) });
export const tanhOp = unary({
  name: "tanh",
  f: Math.tanh,
  vjp: (g, _x, y) => sub(g, mul(g, square(y))),
  onnx: "Tanh",
  tfjs: (tf, x) => tf.tanh(x),
});
export const sigmoidOp = unary({
  name: "sigmoid",
  f: (x) => 1 / (1 + Math.exp(-x)),
  vjp: (g, _x, y) => mul(g, sub(y, square(y))),
  onnx: "Sigmoid",
  tfjs: (tf, x) => tf.sigmoid(x),
});
export const erfOp = unary({
  name: "erf",
  f: erfReference,
  vjp: (g, x) => mul(mul(g, 2 / Math.sqrt(Math.PI)), exp(neg(square(x)))),
  onnx: "Erf",
  tfjs: (tf, x) => tf.erf(x),
  tolerance: erfTolerance,
});
export const logicalNotOp = unary({
  name: "logicalNot",
  f: (x) => (x ? 0 : 1),
  vjp: undefined,
  onnx: "Not",
  tfjs: (tf, x) => tf.logicalNot(x),
  dtypes: ["bool"],
});

interface BinarySpec {
  readonly name: string;
  readonly f: (x: number, y: number) => number;
  /** Cotangents before they are summed back to the operands' shapes. */
  readonly vjp:
    | ((g: Tensor, x: Tensor, y: Tensor, out: Tensor) => readonly [(() => Tensor) | undefined, (() => Tensor) | undefined])
    | undefined;
  readonly onnx: string;
  readonly tfjs: (tf: Tf, x: TfTensor, y: TfTensor) => TfTensor;
  readonly dtypes?: readonly DType[];
  readonly result?: DType;
}

function binary(spec: BinarySpec): OpDef<UnaryAttrs> {
  return {
    name: spec.name,
    infer: ([x, y]) => {
      requireDtype(x!, spec.dtypes ?? arithmetic, spec.name);
      if (x!.dtype !== y!.dtype) throw new LfmError("DTYPE_UNSUPPORTED", `[@lfm/core] ${spec.name}: ${x} with ${y}; cast one of them`);
      return [{ dtype: spec.result ?? x!.dtype, shape: broadcastShapes(x!.shape, y!.shape, spec.name) }];
    },
    vjp: (node, [g], wanted) => {
      const [x, y] = node.inputs as [Tensor, Tensor];
      if (!g || !spec.vjp) return [undefined, undefined];
      const parts = spec.vjp(g, x, y, node.outputs[0]!);
      return [x, y].map((input, i) => (wanted[i] && parts[i] ? sumTo(parts[i]!(), input.shape) : undefined));
    },
    reference: (inputs, _attrs, [out]) => [mapBroadcast(inputs, out!.shape, spec.f)],
    onnx: (b, inputs) => [b.node(spec.onnx, inputs)],
    tfjs: (tf, [x, y]) => [spec.tfjs(tf, x!, y!)],
  };
}

export const addOp = binary({
  name: "add",
  f: (x, y) => x + y,
  vjp: (g) => [() => g, () => g],
  onnx: "Add",
  tfjs: (tf, x, y) => tf.add(x, y),
});
export const subOp = binary({
  name: "sub",
  f: (x, y) => x - y,
  vjp: (g) => [() => g, () => neg(g)],
  onnx: "Sub",
  tfjs: (tf, x, y) => tf.sub(x, y),
});
export const mulOp = binary({
  name: "mul",
  f: (x, y) => x * y,
  vjp: (g, x, y) => [() => mul(g, y), () => mul(g, x)],
  onnx: "Mul",
  tfjs: (tf, x, y) => tf.mul(x, y),
});
export const divOp = binary({
  name: "div",
  f: (x, y) => x / y,
  vjp: (g, _x, y, out) => [() => div(g, y), () => neg(mul(g, div(out, y)))],
  onnx: "Div",
  tfjs: (tf, x, y) => tf.div(x, y),
  dtypes: ["f32"],
});
/** x^y for x > 0 where y is differentiated. */
export const powOp = binary({
  name: "pow",
  f: (x, y) => x ** y,
  vjp: (g, x, y, out) => [() => mul(g, mul(y, pow(x, sub(y, 1)))), () => mul(g, mul(out, log(x)))],
  onnx: "Pow",
  tfjs: (tf, x, y) => tf.pow(x, y),
  dtypes: ["f32"],
});
/** Ties give the whole gradient to the first operand. */
export const maximumOp = binary({
  name: "maximum",
  f: Math.max,
  vjp: (g, x, y) => [() => where(greaterEqual(x, y), g, 0), () => where(greaterEqual(x, y), 0, g)],
  onnx: "Max",
  tfjs: (tf, x, y) => tf.maximum(x, y),
});
/** Ties give the whole gradient to the first operand. */
export const minimumOp = binary({
  name: "minimum",
  f: Math.min,
  vjp: (g, x, y) => [() => where(lessEqual(x, y), g, 0), () => where(lessEqual(x, y), 0, g)],
  onnx: "Min",
  tfjs: (tf, x, y) => tf.minimum(x, y),
});

const compare = (name: string, f: (x: number, y: number) => boolean, onnx: string, tfjs: BinarySpec["tfjs"]): OpDef<UnaryAttrs> =>
  binary({ name, f: (x, y) => (f(x, y) ? 1 : 0), vjp: undefined, onnx, tfjs, result: "bool" });

export const equalOp = compare(
  "equal",
  (x, y) => x === y,
  "Equal",
  (tf, x, y) => tf.equal(x, y),
);
export const lessOp = compare(
  "less",
  (x, y) => x < y,
  "Less",
  (tf, x, y) => tf.less(x, y),
);
export const lessEqualOp = compare(
  "lessEqual",
  (x, y) => x <= y,
  "LessOrEqual",
  (tf, x, y) => tf.lessEqual(x, y),
);
export const greaterOp = compare(
  "greater",
  (x, y) => x > y,
  "Greater",
  (tf, x, y) => tf.greater(x, y),
);
export const greaterEqualOp = compare(
  "greaterEqual",
  (x, y) => x >= y,
  "GreaterOrEqual",
  (tf, x, y) => tf.greaterEqual(x, y),
);

const logical = (name: string, f: (x: number, y: number) => number, onnx: string, tfjs: BinarySpec["tfjs"]): OpDef<UnaryAttrs> =>
  binary({ name, f, vjp: undefined, onnx, tfjs, dtypes: ["bool"] });

export const logicalAndOp = logical(
  "logicalAnd",
  (x, y) => x & y,
  "And",
  (tf, x, y) => tf.logicalAnd(x, y),
);
export const logicalOrOp = logical(
  "logicalOr",
  (x, y) => x | y,
  "Or",
  (tf, x, y) => tf.logicalOr(x, y),
);

/** Chooses elementwise; the condition is bool. */
export const whereOp: OpDef<UnaryAttrs> = {
  name: "where",
  infer: ([c, x, y]) => {
    requireDtype(c!, ["bool"], "where");
    if (x!.dtype !== y!.dtype) throw new LfmError("DTYPE_UNSUPPORTED", `[@lfm/core] where: ${x} with ${y}`);
    return [{ dtype: x!.dtype, shape: broadcastShapes(c!.shape, broadcastShapes(x!.shape, y!.shape, "where"), "where") }];
  },
  vjp: (node, [g], wanted) => {
    const [c, x, y] = node.inputs as [Tensor, Tensor, Tensor];
    if (!g) return [];
    return [undefined, wanted[1] ? sumTo(where(c, g, 0), x.shape) : undefined, wanted[2] ? sumTo(where(c, 0, g), y.shape) : undefined];
  },
  reference: (inputs, _attrs, [out]) => [mapBroadcast(inputs, out!.shape, (c, x, y) => (c! ? x! : y!))],
  onnx: (b, inputs) => [b.node("Where", inputs)],
  tfjs: (tf, [c, x, y], _attrs, [out]) => [
    tf.where(tf.broadcastTo(c, out!.shape), tf.broadcastTo(x, out!.shape), tf.broadcastTo(y, out!.shape)),
  ],
};

export const castOp: OpDef<{ readonly to: DType }> = {
  name: "cast",
  infer: ([x], { to }) => [{ dtype: to, shape: x!.shape }],
  vjp: (node, [g]) => [g && isFloat(node.inputs[0]!.dtype) ? cast(g, node.inputs[0]!.dtype) : undefined],
  reference: ([x], { to }) => [to === "bool" ? x!.data.map((v) => (v ? 1 : 0)) : isFloat(to) ? x!.data : x!.data.map(Math.trunc)],
  onnx: (b, [x], node) => [b.node("Cast", [x!], { to: onnxDtype[node.attrs.to] })],
  tfjs: (tf, [x], { to }) => [tf.cast(x, to === "bool" ? "bool" : to === "i32" ? "int32" : "float32")],
};

/** The value, cut off from differentiation. */
export const stopGradientOp: OpDef<UnaryAttrs> = {
  name: "stopGradient",
  view: true,
  infer: ([x]) => [{ dtype: x!.dtype, shape: x!.shape }],
  vjp: () => [undefined],
  reference: ([x]) => [x!.data],
  onnx: (_b, [x]) => [x!],
  tfjs: (tf, [x]) => [tf.clone(x)],
};

const two =
  (op: OpDef<UnaryAttrs>) =>
  (x: Operand, y: Operand): Tensor => {
    const a = asTensor(x, y instanceof Tensor ? y : undefined);
    return apply1(op, [a, asTensor(y, a)], none);
  };

export const neg = one(negOp);
export const abs = one(absOp);
export const sign = one(signOp);
export const floor = one(floorOp);
export const ceil = one(ceilOp);
export const round = one(roundOp);
export const exp = one(expOp);
export const log = one(logOp);
export const sqrt = one(sqrtOp);
export const rsqrt = one(rsqrtOp);
export const reciprocal = one(reciprocalOp);
export const square = one(squareOp);
export const sin = one(sinOp);
export const cos = one(cosOp);
export const tanh = one(tanhOp);
export const sigmoid = one(sigmoidOp);
export const erf = one(erfOp);
export const logicalNot = one(logicalNotOp);
export const stopGradient = one(stopGradientOp);

/** x + y; adding the constant 0 records nothing. */
export function add(x: Operand, y: Operand): Tensor {
  if (x instanceof Tensor && isScalar(y, 0)) return x;
  if (y instanceof Tensor && isScalar(x, 0)) return y;
  return addTwo(x, y);
}
const addTwo = two(addOp);
export const sub = two(subOp);

/** x · y; multiplying by the constant 1 records nothing. */
export function mul(x: Operand, y: Operand): Tensor {
  if (x instanceof Tensor && isScalar(y, 1)) return x;
  if (y instanceof Tensor && isScalar(x, 1)) return y;
  return mulTwo(x, y);
}
const mulTwo = two(mulOp);
export const div = two(divOp);
export const pow = two(powOp);
export const maximum = two(maximumOp);
export const minimum = two(minimumOp);
export const equal = two(equalOp);
export const less = two(lessOp);
export const lessEqual = two(lessEqualOp);
export const greater = two(greaterOp);
export const greaterEqual = two(greaterEqualOp);
export const logicalAnd = two(logicalAndOp);
export const logicalOr = two(logicalOrOp);

/** condition ? x : y, elementwise with broadcasting. */
export function where(condition: Tensor, x: Operand, y: Operand): Tensor {
  const a = asTensor(x, y instanceof Tensor ? y : undefined);
  return apply1(whereOp, [condition, a, asTensor(y, a)], none);
}

/** Clamps into [low, high]. */
export function clip(x: Tensor, low: number, high: number): Tensor {
  return minimum(maximum(x, low), high);
}

/** Changes the element type; a cast to the own type records nothing. Gradients flow between float types only. */
export function cast(x: Tensor, to: DType): Tensor {
  return x.dtype === to ? x : apply1(castOp, [x], { to });
}

export function isFloat(dtype: DType): boolean {
  return dtype === "f32" || dtype === "f16" || dtype === "bf16" || dtype === "f64";
}

/** The same value at every position of `shape`. */
export function full(shape: readonly Dim[], value: number, dtype: "f32" | "i32" = "f32"): Tensor {
  const s = asTensor(value);
  return broadcastTo(dtype === "i32" ? cast(s, "i32") : s, shape);
}

export function zerosLike(x: Tensor): Tensor {
  return full(x.shape, 0, x.dtype === "i32" ? "i32" : "f32");
}

function isScalar(x: Operand, value: number): boolean {
  return typeof x === "number" ? x === value : scalarValue(x) === value;
}
