import {
  abs,
  cast,
  grad,
  greater,
  type Hook,
  type Model,
  type ModelInput,
  mul,
  type ParamTree,
  type Site,
  sum,
  type Tensor,
} from "@lfm/core";

/** What the gradient of a linear layer's weight is the product of: Σ δ·uᵀ over positions. */
export interface GradientFactors {
  /** f32[batch, length, in]: what flowed in. */
  readonly u: Tensor;
  /** f32[batch, length, out]: the loss by what flowed out. */
  readonly delta: Tensor;
  /** f32[batch, length, 1]: 1 where both are other than zero, 0 for positions that the loss does not depend on. */
  readonly counts: Tensor;
}

/**
 * One forward and one backward pass. What hooks put in front of the tokens is among the positions.
 * @param loss of the logits, f32[]
 * @returns by the path of the site
 */
export function gradientFactors(
  model: Model,
  params: ParamTree,
  input: ModelInput,
  sites: readonly Site[],
  loss: (logits: Tensor) => Tensor,
): { readonly factors: Readonly<Record<string, GradientFactors>>; readonly loss: Tensor } {
  const paths = new Set(sites.map((s) => s.path));
  const [inputs, outputs]: [Record<string, Tensor>, Record<string, Tensor>] = [{}, {}];
  const capture: Hook = {
    matches: (s) => paths.has(s.path),
    output: (y, x, { path }) => {
      inputs[path] = x;
      outputs[path] = y;
      return y;
    },
  };
  const { logits } = model.forward(params, input, { mode: "eval", hooks: [capture] });
  const value = loss(logits!);
  const deltas = grad(value, outputs);
  const factors = Object.entries(inputs).map(([path, u]) => {
    const delta = deltas[path]!;
    const counts = mul(isSomething(u), isSomething(delta));
    return [path, { u, delta, counts }] as const;
  });
  return { factors: Object.fromEntries(factors), loss: value };
}

/** 1 for rows with an element other than zero. */
function isSomething(x: Tensor): Tensor {
  return cast(greater(sum(abs(x), -1, { keepDims: true }), 0), "f32");
}
