/**
 * Many tasks in one pass: every task has parameters of its own along a leading axis, and a linear site becomes one batched product.
 * The graph then has as many nodes for 25 tasks as for one.
 */
import { add, broadcastTo, expandDims, type Hook, type Model, type ModelInput, matmul, type Outputs, type Tensor } from "@lfm/core";
import type { TracedParams } from "./inputs.js";

/**
 * True where a leading task axis goes through the whole model: it reads feature vectors, all its trainable parameters belong to linear
 * sites (mlp), and what moves is among them. Convolutions have no form with a kernel per task, and deltas put in what they like; their
 * tasks are unrolled instead.
 */
export function takesTaskAxis({ info, live = {} }: Pick<Model, "info" | "live">, moves: readonly string[] = []): boolean {
  const linear = new Set(info.sites.flatMap((site) => (site.weight ? [site.weight.name, site.weight.bias] : [])));
  return (
    info.input === "features" &&
    Object.entries(info.params).every(([name, p]) => !p.trainable || linear.has(name)) &&
    moves.every((name) => linear.has(name)) &&
    // What deltas bring besides parameters of the model works through hooks of their own.
    Object.keys(live).every((name) => linear.has(name))
  );
}

/** Copies of shared parameters along a new leading axis, so that each task can move its own. [...shape] → [tasks, ...shape] */
export function perTask(params: TracedParams, names: readonly string[], tasks: number): Record<string, Tensor> {
  return Object.fromEntries(names.map((n) => [n, broadcastTo(expandDims(params[n]!, 0), [tasks, ...params[n]!.shape])]));
}

/**
 * Features f32[tasks, n, features] → logits f32[tasks, n, outputs]; task i uses `own[name][i]` where it has parameters of its own.
 * The hook replaces what a site makes of the shared weight by the product with the task's own; the shared product is then dead code.
 */
export function forwardPerTask(model: Model, shared: TracedParams, own: TracedParams, input: ModelInput): Outputs {
  const hook: Hook = {
    matches: ({ weight }) => weight !== undefined && [weight.name, weight.bias].some((name) => name !== undefined && name in own),
    output: (_y, seen, site) => {
      const { name, bias, layout } = site.weight!;
      const y = matmul(seen, own[name] ?? shared[name]!, { transB: layout === "out-in" });
      if (bias === undefined) return y;
      return add(y, own[bias] ? expandDims(own[bias], 1) : shared[bias]!);
    },
  };
  return model.forward(shared, input, { mode: "train", hooks: [hook] });
}
