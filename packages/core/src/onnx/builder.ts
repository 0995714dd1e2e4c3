import { type Dim, isBareSymbol, type SymbolicDim } from "../dims.js";
import { allocate, type DType, type HostTensor } from "../dtype.js";
import { LfmError } from "../errors.js";
import type { Graph } from "../graph.js";
import type { Weight } from "../model.js";
import { constantOp, type Tensor } from "../tensor.js";
import { type OnnxAttrs, type OnnxLowering, onnxDtype } from "./lowering.js";
import { type AttributeProto, encodeModel, type NodeProto, type TensorProto, type ValueInfoProto } from "./proto.js";

export interface OnnxModel {
  readonly bytes: Uint8Array;
  readonly nodes: number;
}

/** Bytes of a weight in a file beside the model. */
export interface WeightLocation {
  /** Name relative to the folder that the runtime is given. */
  readonly file: string;
  readonly offset: number;
  readonly bytes: number;
}

/** A protobuf message ends at 2 GB; activations' constants and the encoder's own copy need room as well. */
const INLINE_LIMIT = 1.5e9;

/** Size of a weight without reading it. */
export function weightBytes(weight: Weight): number {
  return "file" in weight ? weight.file.bytes : weight.data.byteLength;
}

/**
 * Lowers a graph to ONNX.
 * @param locate where a frozen weight lies outside the model; undefined copies it in
 * @throws {LfmError} OP_UNSUPPORTED naming the op; BUDGET_EXCEEDED for more than 1.5 GB of weights inside
 */
export function buildOnnx(graph: Graph, locate: (weight: Weight) => WeightLocation | undefined = () => undefined): OnnxModel {
  const builder = new OnnxBuilder(graph.inputs);
  const inline = graph.frozen.reduce((n, f) => n + (locate(f.weight) ? 0 : weightBytes(f.weight)), 0);
  if (inline > INLINE_LIMIT)
    throw new LfmError(
      "BUDGET_EXCEEDED",
      `[@lfm/core] ${(inline / 1e9).toFixed(2)} GB of weights would have to lie inside the ONNX model, which holds at most ${INLINE_LIMIT / 1e9}`,
      {
        hint: "save the weights to one folder of .safetensors files and load them from there: they are then read in place; for export, ask for external weights",
        details: { bytes: inline, limit: INLINE_LIMIT },
      },
    );
  const values = new Map<Tensor, string>();
  for (const { name, tensor } of graph.inputs) values.set(tensor, name);
  for (const { name, tensor, weight } of graph.frozen) {
    builder.initializers.push(initializer(name, weight, locate(weight)));
    values.set(tensor, name);
  }
  for (const node of graph.nodes) {
    if (node.op === (constantOp as unknown)) {
      values.set(node.outputs[0]!, builder.constant(node.attrs.value as HostTensor));
      continue;
    }
    const names = node.op.onnx(
      builder,
      node.inputs.map((x) => values.get(x)!),
      node,
    );
    node.outputs.forEach((y, i) => {
      if (names[i] !== undefined) values.set(y, names[i]!);
    });
  }
  const bytes = builder.finish(graph.outputs.map((o) => ({ ...o, value: values.get(o.tensor)! })));
  return { bytes, nodes: builder.nodeProtos.length };
}

class OnnxBuilder implements OnnxLowering {
  readonly nodeProtos: NodeProto[] = [];
  readonly initializers: TensorProto[] = [];
  private readonly inputs: Graph["inputs"];
  private readonly shared = new Map<string, string>();
  private count = 0;

  constructor(inputs: Graph["inputs"]) {
    this.inputs = inputs;
  }

  node(op: string, inputs: readonly string[], attrs: OnnxAttrs = {}, domain: "" | "com.microsoft" = ""): string {
    return this.nodes(op, inputs, 1, attrs, domain)[0]!;
  }

  nodes(
    op: string,
    inputs: readonly string[],
    outputs: number,
    attrs: OnnxAttrs = {},
    domain: "" | "com.microsoft" = "",
  ): readonly string[] {
    const names = Array.from({ length: outputs }, () => this.fresh());
    this.nodeProtos.push({
      input: [...inputs],
      output: [...names],
      opType: op,
      domain,
      attribute: Object.entries(attrs).map(([k, v]) => attribute(k, v)),
    });
    return names;
  }

  i64(values: readonly number[]): string {
    return this.share(`i64[] ${values.join(",")}`, () => ({
      dims: [values.length],
      dataType: onnxDtype.i64,
      rawData: bytesOf(BigInt64Array.from(values, BigInt)),
    }));
  }

  held(x: string, shape: readonly Dim[], until: readonly string[]): string {
    // A Reshape moves no data. To its shape none of the elements of each value are appended, which waits for them all the same.
    const nothing = until.map((value) => {
      const flat = this.node("Reshape", [value, this.i64([-1])]);
      return this.node("Cast", [this.node("Slice", [flat, this.i64([0]), this.i64([0])])], { to: onnxDtype.i64 });
    });
    return this.node("Reshape", [x, this.node("Concat", [this.dims(shape), ...nothing], { axis: 0 })], { allowzero: 1 });
  }

  atRunTime(x: string, shape: readonly Dim[]): string {
    const [input] = this.inputs;
    return input ? this.held(x, shape, [input.name]) : x;
  }

  scalar(value: number, dtype: DType): string {
    return this.share(`${dtype} ${Object.is(value, -0) ? "-0" : value}`, () => {
      const data = allocate(dtype, 1);
      if (data instanceof BigInt64Array) data[0] = BigInt(value);
      else data[0] = value;
      return { dims: [], dataType: onnxDtype[dtype], rawData: bytesOf(data) };
    });
  }

  constant(value: HostTensor): string {
    if (value.shape.length === 0) return this.scalar(Number(value.data[0]), value.dtype);
    const name = this.fresh();
    this.initializers.push({ name, dims: value.shape, dataType: onnxDtype[value.dtype], rawData: bytesOf(value.data) });
    return name;
  }

  dims(dims: readonly Dim[]): string {
    if (dims.every((d) => typeof d === "number")) return this.i64(dims as number[]);
    const key = `dims ${dims.map(String).join(",")}`;
    const known = this.shared.get(key);
    if (known) return known;
    const parts = dims.map((d) => (typeof d === "number" ? this.i64([d]) : this.symbolic(d)));
    const name = parts.length === 1 ? parts[0]! : this.node("Concat", parts, { axis: 0 });
    this.shared.set(key, name);
    return name;
  }

  /** i64[1] of a polynomial over symbols, each read from the shape of an input that binds it. */
  private symbolic(dim: SymbolicDim): string {
    const terms = [...dim.terms].map(([monomial, c]) => {
      const factors = monomial
        .split("*")
        .filter(Boolean)
        .map((s) => this.symbol(s));
      if (c !== 1 || factors.length === 0) factors.push(this.i64([c]));
      return factors.reduce((a, b) => this.node("Mul", [a, b]));
    });
    return terms.reduce((a, b) => this.node("Add", [a, b]));
  }

  private symbol(name: string): string {
    const key = `symbol ${name}`;
    const known = this.shared.get(key);
    if (known) return known;
    for (const input of this.inputs) {
      const axis = input.tensor.shape.findIndex((d) => isBareSymbol(d) && String(d) === name);
      if (axis < 0) continue;
      const value = this.node("Shape", [input.name], { start: axis, end: axis + 1 });
      this.shared.set(key, value);
      return value;
    }
    throw new LfmError("SHAPE_MISMATCH", `[@lfm/core] no input has the dimension "${name}" as an axis of its own`);
  }

  /** Names results of nodes directly as outputs; copies only where a value is an input, a weight, or an output twice. */
  finish(outputs: readonly { readonly name: string; readonly tensor: Tensor; readonly value: string }[]): Uint8Array {
    const produced = new Set(this.nodeProtos.flatMap((n) => n.output));
    const renamed = new Map<string, string>();
    const copies: NodeProto[] = [];
    for (const { name, value } of outputs) {
      if (produced.has(value) && !renamed.has(value)) renamed.set(value, name);
      else copies.push({ input: [value], output: [name], opType: "Identity", domain: "", attribute: [] });
    }
    const rename = (n: string): string => renamed.get(n) ?? n;
    const node = [...this.nodeProtos, ...copies].map((n) => ({
      ...n,
      input: n.input.map(rename),
      output: copies.includes(n) ? n.output : n.output.map(rename),
    }));
    return encodeModel({
      name: "lfm",
      node,
      initializer: this.initializers,
      input: this.inputs.map((i) => valueInfo(i.name, i.tensor)),
      output: outputs.map((o) => valueInfo(o.name, o.tensor)),
    });
  }

  private fresh(): string {
    return `v${this.count++}`;
  }

  private share(key: string, make: () => Omit<TensorProto, "name">): string {
    let name = this.shared.get(key);
    if (!name) {
      name = this.fresh();
      this.initializers.push({ name, ...make() });
      this.shared.set(key, name);
    }
    return name;
  }
}

function attribute(name: string, value: OnnxAttrs[string]): AttributeProto {
  if (typeof value === "number") return { name, type: 2, i: value };
  if (typeof value === "string") return { name, type: 3, s: new TextEncoder().encode(value) };
  if ("float" in value) return { name, type: 1, f: value.float };
  return { name, type: 7, ints: value };
}

function valueInfo(name: string, tensor: Tensor): ValueInfoProto {
  const dim = tensor.shape.map((d) => (typeof d === "number" ? { dimValue: d } : { dimParam: String(d) }));
  return { name, type: { tensorType: { elemType: onnxDtype[tensor.dtype], shape: { dim } } } };
}

function bytesOf(data: ArrayBufferView): Uint8Array {
  return new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
}

function initializer(name: string, weight: Weight, location: WeightLocation | undefined): TensorProto {
  const head = { name, dims: weight.shape, dataType: onnxDtype[weight.dtype] };
  if (!location) return { ...head, rawData: bytesOf(("read" in weight ? weight.read() : weight).data) };
  return {
    ...head,
    dataLocation: 1,
    externalData: [
      { key: "location", value: location.file },
      { key: "offset", value: String(location.offset) },
      { key: "length", value: String(location.bytes) },
    ],
  };
}
