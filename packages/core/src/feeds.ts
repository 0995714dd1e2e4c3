import { type Dim, type DimEnv, dimEval } from "./dims.js";
import type { HostTensor } from "./dtype.js";
import { LfmError } from "./errors.js";
import { bindSymbols, type Graph } from "./graph.js";
import type { Tensor } from "./tensor.js";

/** An input whose values choose among something: token ids among the rows of an embedding, labels among classes. */
interface IndexInput {
  readonly name: string;
  readonly size: Dim;
  /** A value outside that is allowed. */
  readonly ignored?: number;
}

/**
 * What every engine does before it runs a graph: binds the symbols from the shapes of the feeds, and looks whether ids among them exist.
 * Engines differ in what they make of ids that do not: some count negative ones from the end, which is another token without a word.
 */
export function feedBinder(graph: Pick<Graph, "inputs" | "nodes">): (feeds: Readonly<Record<string, HostTensor>>) => DimEnv {
  const indices = indexInputs(graph);
  return (feeds) => {
    const env = bindSymbols(graph.inputs, feeds);
    for (const input of indices) checkIndices(input, feeds[input.name]!, dimEval(input.size, env));
    return env;
  };
}

function indexInputs({ inputs, nodes }: Pick<Graph, "inputs" | "nodes">): readonly IndexInput[] {
  const names = new Map<Tensor, string>(inputs.map(({ name, tensor }) => [tensor, name]));
  const found = new Map<string, IndexInput>();
  for (const node of nodes) {
    const index = node.op.index?.(node);
    const name = index && names.get(node.inputs[index.input]!);
    if (name === undefined) continue;
    const { size, ignored } = index!;
    found.set(`${name} ${String(size)} ${ignored}`, { name, size, ...(ignored === undefined ? {} : { ignored }) });
  }
  return [...found.values()];
}

/** @throws {LfmError} SHAPE_MISMATCH naming the input, the value and what is allowed */
function checkIndices({ name, ignored }: IndexInput, feed: HostTensor, size: number): void {
  const data = feed.data as Int32Array;
  for (let i = 0; i < data.length; i++) {
    const value = data[i]!;
    if ((value >= 0 && value < size) || value === ignored) continue;
    throw new LfmError(
      "SHAPE_MISMATCH",
      `[@lfm/core] ${value} in "${name}" is none of 0..${size - 1}${ignored === undefined ? "" : ` (nor ${ignored}, which does not count)`}`,
      { details: { input: name, at: i, value, size } },
    );
  }
}
