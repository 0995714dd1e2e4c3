import {
  add,
  compileModel,
  div,
  type Engine,
  f32,
  gatherElements,
  grad,
  i32,
  type MethodContext,
  type Model,
  mul,
  reshape,
  type Site,
  slice,
  softmax,
  sub,
  sum,
  sym,
  type Tensor,
  throwIfAborted,
} from "@lfm/core";
import type { OnModel } from "./editor.js";
import { positionMask } from "./keys.js";
import { editThreads } from "./optimise.js";
import { ownPositions, padFront } from "./subject-reader.js";

/** How much each neuron of the MLPs speaks for a token behind a prompt. */
export interface NeuronAttribution extends OnModel {
  /** The most probable next token. */
  says(prompt: readonly number[]): Promise<number>;
  /**
   * Integrated gradients from silenced neurons to their activations w̄ at the last token (arXiv 2104.08696, equation 3), by the sum
   *   Attr(w) = w̄/m · Σₖ ∂P(token)/∂w at (k/m)·w̄, k = 1 … m
   * @returns f64[in] for each site
   * @throws {LfmError} ABORTED
   */
  of(prompt: readonly number[], token: number, steps: number, context: Pick<MethodContext, "signal">): Promise<readonly Float64Array[]>;
}

/** @param sites the MLPs' output projections, whose inputs are the neurons */
export async function compileAttribution(engine: Engine, model: Model, sites: readonly Site[]): Promise<NeuronAttribution> {
  const rows = sym("batch");
  const f = await compileModel(
    engine,
    model,
    {
      tokens: { dtype: "i32", shape: [rows, sym("seq")] },
      target: { dtype: "i32", shape: [rows] },
      last: { dtype: "i32", shape: [rows] },
      scales: { dtype: "f32", shape: [sites.length, rows] },
    },
    (b, params, on) => traceAttribution(on, params, b, sites),
    editThreads(model),
  );
  const feed = (prompt: readonly number[], token: number, scales: Float32Array): Parameters<typeof f>[0] => {
    const n = scales.length / sites.length;
    return {
      tokens: i32(Array.from({ length: n }, () => prompt).flat(), [n, prompt.length]),
      target: i32(new Int32Array(n).fill(token), [n]),
      last: i32(new Int32Array(n).fill(prompt.length - 1), [n]),
      scales: f32(scales, [sites.length, n]),
    };
  };
  return {
    says: async (prompt) => {
      const { probabilities } = await f(feed(prompt, 0, new Float32Array(sites.length).fill(1)));
      const row = probabilities.data as Float32Array;
      return row.reduce((best, v, i) => (v > row[best]! ? i : best), 0);
    },
    of: async (prompt, token, steps, { signal }) => {
      const found: Float64Array[] = [];
      for (const site of sites.keys()) {
        throwIfAborted(signal, `[@lfm/editing] attribution at layer ${sites[site]!.layer}`);
        const scales = new Float32Array(sites.length * steps).fill(1);
        for (let k = 0; k < steps; k++) scales[site * steps + k] = (k + 1) / steps;
        const { attributions } = await f(feed(prompt, token, scales));
        found.push(Float64Array.from(attributions[site]!.data as Float32Array));
      }
      return found;
    },
    model: () => f.bound().model,
    swap: f.swap,
    dispose: f.dispose,
  };
}

function traceAttribution(
  model: Model,
  params: Readonly<Record<string, Tensor>>,
  { tokens, target, last, scales }: Readonly<Record<"tokens" | "target" | "last" | "scales", Tensor>>,
  sites: readonly Site[],
): { readonly attributions: readonly Tensor[]; readonly probabilities: Tensor } {
  const at = positionMask(last, tokens);
  const n = tokens.dim(0);
  const seen: { before: Tensor; scaled: Tensor }[] = [];
  const hooks = sites.map(({ path }, i) => ({
    matches: (s: Site) => s.path === path,
    input: (x: Tensor) => {
      const here = padFront(at, x);
      const scaled = mul(x, add(mul(here, sub(reshape(slice(scales, 0, i, 1), [n, 1, 1]), 1)), 1));
      seen[i] = { before: x, scaled };
      return scaled;
    },
  }));
  const { logits } = model.forward(params, { tokens }, { mode: "eval", hooks });
  const probabilities = softmax(sum(mul(ownPositions(logits!, at), at), 1));
  const spoken = sum(gatherElements(probabilities, reshape(target, [n, 1]), 1));
  const gradients = grad(
    spoken,
    seen.map((s) => s.scaled),
  );
  const steps = sum(at);
  const attributions = seen.map(({ before }, i) => {
    const own = (t: Tensor): Tensor => sum(mul(ownPositions(t, at), at), 1);
    return div(sum(mul(own(before), own(gradients[i]!)), 0), steps);
  });
  return { attributions, probabilities };
}
