/** Inputs that stay the same over many runs: what depends on them alone is computed once. */
import type { HostTensor } from "./dtype.js";
import type { Engine } from "./engines/engine.js";
import type { CompileOptions, Executable } from "./engines/executable.js";
import { buildGraph, type Graph } from "./graph.js";
import { OpNode, placeholder, placeholderOp, type Tensor } from "./tensor.js";

/** A graph in two: `first` computes from held inputs alone what `rest` reads as further inputs, called as the outputs of `first`. */
interface HeldGraphs {
  readonly first: Graph;
  readonly rest: Graph;
}

/**
 * Takes out of a graph what depends on held inputs and on nothing else that is given at a run. What depends on no input at all stays where it is
 * read: engines fold it.
 * @param held names of inputs
 * @returns undefined where nothing can be taken out
 */
export function splitHeld(graph: Graph, held: ReadonlySet<string>): HeldGraphs | undefined {
  const depends = new Map<Tensor, "held" | "changing">();
  for (const { name, tensor } of graph.inputs) depends.set(tensor, held.has(name) ? "held" : "changing");
  const isHeld = (x: Tensor): boolean => depends.get(x) === "held" && x.node.op !== (placeholderOp as unknown);
  const taken = new Map<Tensor, Tensor>();
  const moved = new Map<Tensor, Tensor>();
  const inRest = (x: Tensor): Tensor => {
    if (!isHeld(x)) return moved.get(x) ?? x;
    const there = taken.get(x) ?? placeholder(`held/${taken.size}`, x.dtype, x.shape);
    taken.set(x, there);
    return there;
  };
  for (const node of graph.nodes) {
    const found = node.inputs.map((x) => depends.get(x));
    const kind = found.includes("changing") ? "changing" : found.includes("held") ? "held" : undefined;
    if (kind) for (const y of node.outputs) depends.set(y, kind);
    if (kind !== "changing") continue;
    const inputs = node.inputs.map(inRest);
    if (inputs.every((x, i) => x === node.inputs[i])) continue;
    const again = new OpNode(node.op, inputs, node.attrs, node.outputs);
    for (const [i, y] of node.outputs.entries()) moved.set(y, again.outputs[i]!);
  }
  const outputs = graph.outputs.map(({ name, tensor }) => ({ name, tensor: inRest(tensor) }));
  if (taken.size === 0) return undefined;
  const between = [...taken].map(([tensor, there], i) => ({ name: `held/${i}`, tensor, there }));
  return {
    first: buildGraph(
      graph.inputs.filter((i) => held.has(i.name)),
      graph.frozen,
      between,
    ),
    // All inputs stay declared: they bind the symbols.
    rest: buildGraph([...graph.inputs, ...between.map(({ name, there }) => ({ name, tensor: there }))], graph.frozen, outputs),
  };
}

/**
 * The executable of a graph some of whose inputs are held: it computes what depends on them alone again only when it is given other tensors for
 * them. Tensors are told apart by identity: what is fed for a held input must not be written to.
 */
export async function compileHeld(engine: Engine, graph: Graph, held: ReadonlySet<string>, options: CompileOptions): Promise<Executable> {
  const open = (part: Graph): Promise<Executable> => engine.executables.share(part, options, () => engine.compile(part, options));
  const parts = splitHeld(graph, held);
  if (!parts) return open(graph);
  const [first, rest] = [await open(parts.first), await open(parts.rest)];
  let known: { readonly feeds: readonly HostTensor[]; readonly values: Readonly<Record<string, HostTensor>> } | undefined;
  return {
    run: async (feeds, into) => {
      const given = parts.first.inputs.map(({ name }) => feeds[name]!);
      if (!known || given.some((t, i) => t !== known!.feeds[i])) {
        const own = Object.fromEntries(parts.first.inputs.map(({ name }, i) => [name, given[i]!]));
        known = { feeds: given, values: await first.run(own) };
      }
      return rest.run({ ...feeds, ...known.values }, into);
    },
    dispose: async () => {
      known = undefined;
      await first.dispose();
      await rest.dispose();
    },
  };
}
