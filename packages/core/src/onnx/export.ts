import { open, writeFile } from "node:fs/promises";
import { basename } from "node:path";
import { loadWeight } from "../engines/reference.js";
import type { Graph } from "../graph.js";
import type { Weight } from "../model.js";
import { buildOnnx, type WeightLocation, weightBytes } from "./builder.js";

export interface OnnxExport {
  readonly bytes: Uint8Array;
  /** Names to feed and to fetch, with dtypes and shapes; symbols are dynamic dimensions. */
  readonly inputs: readonly string[];
  readonly outputs: readonly string[];
  /** The file of weights beside the model, if they are external. */
  readonly dataFile: string | undefined;
}

export interface OnnxExportOptions {
  /** "inline" (default) keeps weights in the model, up to 1.5 GB; "external" writes them to `<path>.data`, which moves with the model. */
  readonly weights?: "inline" | "external";
}

/**
 * Writes a traced or compiled function as an ONNX model (opset 18; products with transposes use ONNX Runtime's own com.microsoft domain).
 * Inputs and outputs keep the names of their trees without the prefixes of the trace: `tokens`, `cache/0/key`, `logits`; a tree that is a
 * single tensor is `input` or `output`, and an output named as an input gets `_out`.
 *
 * @param source the graph of `trace(...)`, or what `compile` or `compileStep` returned
 * @param path file to write; without it only the bytes are returned and weights must be inline
 * @throws {LfmError} BUDGET_EXCEEDED for more than 1.5 GB of inline weights, OP_UNSUPPORTED, FILE_IO
 * @example
 * const { graph } = trace({ tokens: { dtype: "i32", shape: [sym("batch"), sym("seq")] } }, forward, weights);
 * await exportOnnx(graph, "model.onnx");
 */
export async function exportOnnx(
  source: Graph | { readonly graph: Graph },
  path?: string,
  options: OnnxExportOptions = {},
): Promise<OnnxExport> {
  const graph = readable("graph" in source ? source.graph : source);
  const external = options.weights === "external" && path !== undefined && graph.frozen.length > 0;
  const layout = external ? dataLayout(graph, `${basename(path)}.data`) : new Map<Weight, WeightLocation>();
  const { bytes } = buildOnnx(graph, (weight) => layout.get(weight));
  const dataFile = external ? `${path}.data` : undefined;
  if (dataFile) await writeData(dataFile, layout);
  if (path !== undefined) await writeFile(path, bytes);
  return { bytes, inputs: graph.inputs.map((i) => i.name), outputs: graph.outputs.map((o) => o.name), dataFile };
}

/** The graph under names for people. */
function readable(graph: Graph): Graph {
  const taken = new Set<string>();
  const rename = <T extends { readonly name: string }>(list: readonly T[], prefix: string, alone: string, clash: string): T[] =>
    list.map((entry) => {
      let name = entry.name === prefix ? alone : entry.name.replace(new RegExp(`^${prefix}/`), "");
      while (taken.has(name)) name += clash;
      taken.add(name);
      return { ...entry, name };
    });
  return {
    ...graph,
    inputs: rename(graph.inputs, "in", "input", "_in"),
    outputs: rename(graph.outputs, "out", "output", "_out"),
    frozen: rename(graph.frozen, "frozen", "weight", "_weight"),
  };
}

/** Page-aligned, so that runtimes can map the file. */
function dataLayout(graph: Graph, file: string): Map<Weight, WeightLocation> {
  const layout = new Map<Weight, WeightLocation>();
  let offset = 0;
  for (const { weight } of graph.frozen) {
    if (layout.has(weight)) continue;
    const bytes = weightBytes(weight);
    layout.set(weight, { file, offset, bytes });
    offset = Math.ceil((offset + bytes) / 4096) * 4096;
  }
  return layout;
}

async function writeData(file: string, layout: ReadonlyMap<Weight, WeightLocation>): Promise<void> {
  const handle = await open(file, "w");
  try {
    for (const [weight, { offset }] of layout) {
      const { data } = loadWeight(weight);
      await handle.write(new Uint8Array(data.buffer, data.byteOffset, data.byteLength), 0, data.byteLength, offset);
    }
  } finally {
    await handle.close();
  }
}
