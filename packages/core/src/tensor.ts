import { type Dim, formatShape } from "./dims.js";
import { type DType, f32, type HostTensor, hostTensor } from "./dtype.js";
import type { Tf, TfTensor } from "./engines/tfjs-namespace.js";
import type { OnnxLowering } from "./onnx/lowering.js";

/** Element type and shape of a value; the shape may hold symbols. */
export interface TensorType {
  readonly dtype: DType;
  readonly shape: readonly Dim[];
}

/** A type with every symbol bound. */
interface ConcreteType {
  readonly dtype: DType;
  readonly shape: readonly number[];
}

/** JSON-like settings of an operation: part of the structure of a graph, never data. */
export type Attrs = Readonly<Record<string, unknown>>;

/** A value of the f64 reference: numbers in row-major order (bool as 0/1, integers exact). */
export interface RefArray {
  readonly shape: readonly number[];
  readonly data: Float64Array;
}

/**
 * One primitive operation: everything the platform knows about it stands in its entry.
 * `vjp` is written in operations, so derivatives of every order are right by construction.
 */
export interface OpDef<A extends Attrs = Attrs> {
  readonly name: string;
  /** Types of the results. @throws {LfmError} SHAPE_MISMATCH, DTYPE_UNSUPPORTED */
  infer(inputs: readonly Tensor[], attrs: A): readonly TensorType[];
  /**
   * Cotangents of the inputs from those of the outputs (undefined = zero).
   * `wanted[i]` false: nobody asks for input i.
   */
  vjp?(node: OpNode<A>, cotangents: readonly (Tensor | undefined)[], wanted: readonly boolean[]): readonly (Tensor | undefined)[];
  /** Why there is no derivative, for ops with floating-point results and no `vjp`. */
  readonly notDifferentiable?: string;
  /** For ops that choose by i32 values: which input holds them, among how many they choose, and a value outside that is allowed. */
  index?(node: OpNode<A>): { readonly input: number; readonly size: Dim; readonly ignored?: number };
  /** Result i is input i under another name or shape: engines need not copy it. */
  readonly view?: true;
  /** The oracle: plain loops in f64. */
  reference(inputs: readonly RefArray[], attrs: A, outputs: readonly ConcreteType[]): readonly Float64Array[];
  /** Emits ONNX nodes and returns the names of the results. */
  onnx(b: OnnxLowering, inputs: readonly string[], node: OpNode<A>): readonly string[];
  /** Runs on tfjs kernels. `types` are those of the results. */
  tfjs(tf: Tf, inputs: readonly TfTensor[], attrs: A, types: readonly ConcreteType[]): readonly TfTensor[];
  /** For weights that are stored in another form than f32: x·W without making W. x — f32[rows, in] → f32[rows, out]. */
  product?(node: OpNode<A>, x: Tensor): Tensor;
  /** For tables that are stored in another form than f32: some of their rows, f32[..., width] by i32[...]. */
  rows?(node: OpNode<A>, indices: Tensor): Tensor;
  /** A bound looser than 1e-5·max|reference| for an engine, with its reason. */
  readonly tolerance?: Readonly<Partial<Record<"ort" | "tfjs", { readonly relative: number; readonly reason: string }>>>;
}

/** One application of an operation in a trace. */
export class OpNode<A extends Attrs = Attrs> {
  readonly op: OpDef<A>;
  readonly inputs: readonly Tensor[];
  readonly attrs: A;
  readonly outputs: readonly Tensor[];

  constructor(op: OpDef<A>, inputs: readonly Tensor[], attrs: A, types: readonly TensorType[]) {
    this.op = op;
    this.inputs = inputs;
    this.attrs = attrs;
    this.outputs = types.map((t, i) => new Tensor(this as unknown as OpNode, i, t.dtype, t.shape));
  }
}

/** A traced value: immutable, without data; engines compute it. */
export class Tensor {
  readonly node: OpNode;
  readonly index: number;
  readonly dtype: DType;
  readonly shape: readonly Dim[];

  constructor(node: OpNode, index: number, dtype: DType, shape: readonly Dim[]) {
    this.node = node;
    this.index = index;
    this.dtype = dtype;
    this.shape = shape;
  }

  get rank(): number {
    return this.shape.length;
  }

  /** Dimension of an axis; negative axes count from the end. */
  dim(axis: number): Dim {
    return this.shape[axis < 0 ? axis + this.rank : axis]!;
  }

  toString(): string {
    return `${this.node.op.name}:${this.dtype}${formatShape(this.shape)}`;
  }
}

/** Records one operation. */
export function apply<A extends Attrs>(op: OpDef<A>, inputs: readonly Tensor[], attrs: A): readonly Tensor[] {
  return new OpNode(op, inputs, attrs, op.infer(inputs, attrs)).outputs;
}

/** Records an operation with one result. */
export function apply1<A extends Attrs>(op: OpDef<A>, inputs: readonly Tensor[], attrs: A): Tensor {
  return apply(op, inputs, attrs)[0]!;
}

function leaf<A extends Attrs & TensorType>(name: string): OpDef<A> {
  const never = (): never => {
    throw new TypeError(`${name} is a leaf: engines bind it`);
  };
  return {
    name,
    infer: (_inputs, attrs) => [{ dtype: attrs.dtype, shape: attrs.shape }],
    vjp: () => [],
    reference: never,
    onnx: never,
    tfjs: never,
  };
}

/** Bound at every run. */
export const placeholderOp = leaf<Attrs & TensorType & { readonly name: string }>("placeholder");
/** Bound once, when the graph is compiled. */
export const constantOp = leaf<Attrs & TensorType & { readonly value: HostTensor }>("constant");

/** An input of a graph. */
export function placeholder(name: string, dtype: DType, shape: readonly Dim[]): Tensor {
  return apply1(placeholderOp, [], { name, dtype, shape });
}

/** A small tensor that is part of the graph. */
export function constant(value: HostTensor): Tensor {
  return apply1(constantOp, [], { dtype: value.dtype, shape: value.shape, value });
}

/** An f32 (or i32) scalar that is part of the graph. */
export function scalar(value: number, dtype: "f32" | "i32" = "f32"): Tensor {
  return constant(dtype === "f32" ? f32([value], []) : hostTensor("i32", [], Int32Array.of(value)));
}

/** Anything that can stand as an operand of an elementwise operation. */
export type Operand = Tensor | number;

export function asTensor(x: Operand, like?: Tensor): Tensor {
  return x instanceof Tensor ? x : scalar(x, like?.dtype === "i32" ? "i32" : "f32");
}

/** The value of a scalar constant, if the tensor is one. */
export function scalarValue(x: Tensor): number | undefined {
  if (x.node.op !== (constantOp as unknown) || x.rank !== 0) return undefined;
  return Number((x.node.attrs.value as HostTensor).data[0]);
}
