import { basename, dirname } from "node:path";
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
  /** Folder that external weights lie in; undefined when all weights are inside. */
  readonly externalFolder: string | undefined;
  readonly nodes: number;
}

export interface OnnxBuildOptions {
  /** "external" refers to weights in files by file name; "inline" copies them into the model (below 2 GB). */
  readonly weights: "external" | "inline";
}

/** Lowers a graph to ONNX. @throws {LfmError} OP_UNSUPPORTED naming the op */
export function buildOnnx(graph: Graph, options: OnnxBuildOptions): OnnxModel {
  const builder = new OnnxBuilder(graph.inputs);
  const folder = options.weights === "external" ? externalFolder(graph.frozen.map((f) => f.weight)) : undefined;
  const values = new Map<Tensor, string>();
  for (const { name, tensor } of graph.inputs) values.set(tensor, name);
  for (const { name, tensor, weight } of graph.frozen) {
    builder.initializers.push(initializer(name, weight, folder));
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
  return { bytes, externalFolder: folder, nodes: builder.nodeProtos.length };
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
    return this.share(`i64 ${values.join(",")}`, () => ({
      dims: [values.length],
      dataType: onnxDtype.i64,
      rawData: bytesOf(BigInt64Array.from(values, BigInt)),
    }));
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

/** ONNX Runtime reads external data from one folder and refuses to leave it. */
function externalFolder(weights: readonly Weight[]): string | undefined {
  const folders = new Set(weights.flatMap((w) => ("file" in w ? [dirname(w.file.path)] : [])));
  return folders.size === 1 ? [...folders][0] : undefined;
}

function initializer(name: string, weight: Weight, folder: string | undefined): TensorProto {
  const head = { name, dims: weight.shape, dataType: onnxDtype[weight.dtype] };
  if ("file" in weight && folder !== undefined) {
    const { path, offset, bytes } = weight.file;
    return {
      ...head,
      dataLocation: 1,
      externalData: [
        { key: "location", value: basename(path) },
        { key: "offset", value: String(offset) },
        { key: "length", value: String(bytes) },
      ],
    };
  }
  const host = "read" in weight ? weight.read() : weight;
  return { ...head, rawData: bytesOf(host.data) };
}
