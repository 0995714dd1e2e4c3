import { topologicalOrder } from "./autodiff.js";
import { digest128 } from "./digest.js";
import { type DimEnv, dimEval, formatShape, isBareSymbol, SymbolicDim } from "./dims.js";
import type { HostTensor } from "./dtype.js";
import { LfmError } from "./errors.js";
import type { Weight } from "./model.js";
import { type Attrs, constantOp, OpNode, placeholderOp, type Tensor } from "./tensor.js";

/** What an engine compiles: a pure function from named inputs to named outputs. */
export interface Graph {
  readonly inputs: readonly { readonly name: string; readonly tensor: Tensor }[];
  /** Inputs that are bound at compile time. */
  readonly frozen: readonly { readonly name: string; readonly tensor: Tensor; readonly weight: Weight }[];
  readonly outputs: readonly { readonly name: string; readonly tensor: Tensor }[];
  /** Every operation once, each after its inputs, equal ones merged. */
  readonly nodes: readonly OpNode[];
  /** Text that is equal for graphs of equal structure; data of frozen weights is not part of it. */
  readonly structure: string;
}

/** Collects what the outputs need, merges equal subexpressions. @throws {LfmError} INTERNAL for an input that was not declared */
export function buildGraph(inputs: Graph["inputs"], frozen: Graph["frozen"], outputs: Graph["outputs"]): Graph {
  const declared = new Map<Tensor, string>([...inputs, ...frozen].map((i) => [i.tensor, i.name]));
  const canonical = new Map<Tensor, Tensor>();
  const ids = new Map<Tensor, number>();
  const seen = new Map<string, OpNode>();
  const nodes: OpNode[] = [];
  const lines: string[] = [];
  for (const node of topologicalOrder(outputs.map((o) => o.tensor))) {
    let key: string;
    if (node.op === (placeholderOp as unknown)) {
      const name = declared.get(node.outputs[0]!);
      if (name === undefined)
        throw new LfmError("INTERNAL", `[@lfm/core] the graph reads "${String(node.attrs.name)}", which is none of its inputs`);
      key = `input ${name} ${node.outputs[0]!.dtype}${formatShape(node.outputs[0]!.shape)}`;
    } else if (node.op === (constantOp as unknown)) {
      key = `constant ${constantKey(node.attrs.value as HostTensor)}`;
    } else {
      key = `${node.op.name} ${node.inputs.map((x) => ids.get(canonical.get(x)!)).join(" ")} ${JSON.stringify(node.attrs)}`;
    }
    let found = seen.get(key);
    if (!found) {
      const changed = node.inputs.some((x) => canonical.get(x) !== x);
      found = changed
        ? new OpNode(
            node.op,
            node.inputs.map((x) => canonical.get(x)!),
            node.attrs,
            node.outputs,
          )
        : node;
      seen.set(key, found);
      lines.push(key);
      for (const y of found.outputs) ids.set(y, ids.size);
      if (node.op !== (placeholderOp as unknown)) nodes.push(found);
    }
    for (const [i, y] of node.outputs.entries()) canonical.set(y, found.outputs[i]!);
  }
  const used = new Set(nodes.flatMap((n) => n.inputs));
  const finalOutputs = outputs.map((o) => ({ name: o.name, tensor: canonical.get(o.tensor)! }));
  for (const o of finalOutputs) used.add(o.tensor);
  // What is declared and not used must be fed all the same: graphs that declare more are no graphs of equal structure.
  lines.push(`inputs ${inputs.map((i) => `${i.name}:${i.tensor.dtype}${formatShape(i.tensor.shape)}`).join(" ")}`);
  lines.push(`outputs ${finalOutputs.map((o) => `${o.name}=${ids.get(o.tensor)}`).join(" ")}`);
  return {
    inputs,
    frozen: frozen.filter((f) => used.has(f.tensor)),
    outputs: finalOutputs,
    nodes,
    structure: lines.join("\n"),
  };
}

/** Equal for equal constants only: the values of small ones, a cryptographic hash of the bytes of large ones. */
function constantKey(value: HostTensor): string {
  const type = `${value.dtype}${formatShape(value.shape)}`;
  if (value.data.length <= 64)
    return `${type}:${Array.from(value.data as ArrayLike<number>, (x) => (Object.is(x, -0) ? "-0" : String(x))).join(",")}`;
  const bytes = new Uint8Array(value.data.buffer, value.data.byteOffset, value.data.byteLength);
  return `${type} ${digest128(bytes)}`;
}

/** Binds every symbol from the concrete shapes of the feeds. @throws {LfmError} SHAPE_MISMATCH */
export function bindSymbols(inputs: Graph["inputs"], feeds: Readonly<Record<string, HostTensor>>): DimEnv {
  const env: Record<string, number> = {};
  for (const pass of ["bind", "check"] as const) {
    for (const { name, tensor } of inputs) {
      const feed = feeds[name];
      if (!feed) throw new LfmError("SHAPE_MISMATCH", `[@lfm/core] no value for the input "${name}"`);
      if (feed.dtype !== tensor.dtype)
        throw new LfmError("DTYPE_UNSUPPORTED", `[@lfm/core] input "${name}" is ${tensor.dtype}, got ${feed.dtype}`);
      const mismatch = (): LfmError =>
        new LfmError(
          "SHAPE_MISMATCH",
          `[@lfm/core] input "${name}" is ${tensor.dtype}${formatShape(tensor.shape)}, got ${formatShape(feed.shape)}${
            Object.keys(env).length > 0
              ? ` with ${Object.entries(env)
                  .map(([k, v]) => `${k}=${v}`)
                  .join(", ")}`
              : ""
          }`,
        );
      if (feed.shape.length !== tensor.rank) throw mismatch();
      tensor.shape.forEach((d, i) => {
        const actual = feed.shape[i]!;
        if (pass === "bind") {
          if (isBareSymbol(d)) {
            const s = String(d);
            if (env[s] !== undefined && env[s] !== actual) throw mismatch();
            env[s] = actual;
          }
        } else if (dimEval(d, env) !== actual) throw mismatch();
      });
    }
  }
  return env;
}

/** Attributes with every symbolic dimension replaced by its value. */
export function concreteAttrs(attrs: Attrs, env: DimEnv): Attrs {
  return mapDims(attrs, env) as Attrs;
}

function mapDims(value: unknown, env: DimEnv): unknown {
  if (value instanceof SymbolicDim) return dimEval(value, env);
  if (Array.isArray(value)) return value.map((v) => mapDims(v, env));
  if (typeof value === "object" && value !== null && Object.getPrototypeOf(value) === Object.prototype) {
    return Object.fromEntries(Object.entries(value).map(([k, v]) => [k, k === "value" ? v : mapDims(v, env)]));
  }
  return value;
}
