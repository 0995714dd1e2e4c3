/** What the elementwise operations of one operand have in common. */
import type { DType } from "../dtype.js";
import type { Tf, TfTensor } from "../engines/tfjs-namespace.js";
import type { OnnxLowering } from "../onnx/lowering.js";
import { apply1, type OpDef, type Tensor } from "../tensor.js";
import { requireDtype } from "./shape-rules.js";

/** Elementwise operations have no settings. */
export type UnaryAttrs = Record<string, never>;

export interface UnarySpec {
  readonly name: string;
  readonly f: (x: number) => number;
  /** dy/dx · g, written in operations; undefined for zero almost everywhere. */
  readonly vjp: ((g: Tensor, x: Tensor, y: Tensor) => Tensor) | undefined;
  readonly onnx: string | ((b: OnnxLowering, x: string) => string);
  readonly tfjs: (tf: Tf, x: TfTensor) => TfTensor;
  readonly dtypes?: readonly DType[];
  readonly tolerance?: OpDef["tolerance"];
}

/** The entry of an elementwise operation of one operand. */
export function unary(spec: UnarySpec): OpDef<UnaryAttrs> {
  const { vjp, onnx } = spec;
  return {
    name: spec.name,
    infer: ([x]) => {
      requireDtype(x!, spec.dtypes ?? ["f32"], spec.name);
      return [{ dtype: x!.dtype, shape: x!.shape }];
    },
    vjp: (node, [g]) => [g && vjp ? vjp(g, node.inputs[0]!, node.outputs[0]!) : undefined],
    reference: ([x]) => [x!.data.map(spec.f)],
    onnx: (b, [x]) => [typeof onnx === "string" ? b.node(onnx, [x!]) : onnx(b, x!)],
    tfjs: (tf, [x]) => [spec.tfjs(tf, x!)],
    ...(spec.tolerance ? { tolerance: spec.tolerance } : {}),
  };
}

export const none: UnaryAttrs = {};

/** The function that records an operation of one operand. */
export const one =
  (op: OpDef<UnaryAttrs>) =>
  (x: Tensor): Tensor =>
    apply1(op, [x], none);

export const erfTolerance = { tfjs: { relative: 2e-5, reason: "tfjs approximates erf to 1.5e-5" } };
