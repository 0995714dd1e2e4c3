/**
 * MAML (arXiv 1703.03400): θ'ᵢ = θ − α∇L_Sᵢ(θ) repeated K times; θ ← θ − β∇_θ Σᵢ L_Qᵢ(θ'ᵢ), exact second order.
 * First order (FOMAML): the inner gradients count as constants.
 * All tasks of a step lie in one graph; the inner loop is unrolled and differentiated through.
 */
import {
  adam,
  add,
  compile,
  crossEntropy,
  defineMethod,
  div,
  grad,
  type HostTensor,
  meanSquaredError,
  mul,
  reshape,
  slice,
  stopGradient,
  sub,
  type Tensor,
} from "@lfm/core";
import { fit, fitContext, trainableParams } from "@lfm/train";
import { z } from "zod";
import { type MetaInputs, type MetaOutput, stackEpisodes, type TracedParams } from "../inputs.js";

const config = z.strictObject({
  innerLr: z.number().positive().default(0.01).describe("step size α of the inner loop"),
  innerSteps: z.number().int().positive().default(1).describe("gradient steps K on the support set while training"),
  evalSteps: z.number().int().positive().default(5).describe("gradient steps on the support set of a new task"),
  firstOrder: z.boolean().default(false).describe("treat inner gradients as constants (FOMAML)"),
  metaLr: z.number().positive().default(1e-3).describe("step size β of the outer Adam"),
  steps: z.number().int().positive().default(1000).describe("outer steps"),
  threads: z.number().int().positive().default(1).describe("threads inside one operation; graphs this small want 1"),
});

export const maml = defineMethod({
  id: "maml",
  paradigm: "meta",
  summary: "Learns an initialisation from which a few gradient steps solve a new task.",
  paper: {
    title: "Model-Agnostic Meta-Learning for Fast Adaptation of Deep Networks",
    arxiv: "1703.03400",
    year: 2017,
    survey: "6.1 white-box meta-learning",
  },
  needs: ["weights", "grad"],
  config,
  presets: { fomaml: { summary: "first order", config: { firstOrder: true } } },
  run: async (inputs: MetaInputs, c, context): Promise<MetaOutput> => {
    const { model } = inputs;
    const trainable = trainableParams(model);
    const frozen = Object.fromEntries(Object.entries(model.params).filter(([n]) => !(n in trainable)));
    const names = Object.keys(trainable);
    const predict = (params: TracedParams, x: Tensor): Tensor => model.forward(params, { [inputs.input]: x }, { mode: "eval" }).logits!;
    const lossOf = (params: TracedParams, x: Tensor, y: Tensor): Tensor =>
      inputs.kind === "regression" ? meanSquaredError(predict(params, x), y) : crossEntropy(predict(params, x), y);
    const adapt = (params: TracedParams, x: Tensor, y: Tensor, steps: number, secondOrder: boolean): TracedParams => {
      let current = params;
      for (let k = 0; k < steps; k++) {
        const gs = grad(
          lossOf(current, x, y),
          names.map((n) => current[n]!),
        );
        current = {
          ...current,
          ...Object.fromEntries(names.map((n, i) => [n, sub(current[n]!, mul(secondOrder ? gs[i]! : stopGradient(gs[i]!), c.innerLr))])),
        };
      }
      return current;
    };
    const example = stackEpisodes(inputs.episodes(0));
    const specs = Object.fromEntries(Object.entries(example).map(([k, t]) => [k, { dtype: t.dtype, shape: t.shape }])) as {
      [K in keyof typeof example]: { dtype: HostTensor["dtype"]; shape: readonly number[] };
    };
    const result = await fit({
      ...fitContext(context, "maml"),
      trainable,
      frozen,
      batch: specs,
      batches: (step) => stackEpisodes(inputs.episodes(step)) as never,
      loss: (params, b) => {
        const tasks = example.sx.shape[0]!;
        const losses = Array.from({ length: tasks }, (_, i) =>
          lossOf(adapt(params, item(b.sx, i), item(b.sy, i), c.innerSteps, !c.firstOrder), item(b.qx, i), item(b.qy, i)),
        );
        return {
          loss: div(
            losses.reduce((a, l) => add(a, l)),
            tasks,
          ),
        };
      },
      optimizer: adam(),
      lr: c.metaLr,
      steps: c.steps,
      threads: c.threads,
    });
    return {
      params: result.params,
      curves: result.curves,
      predict: async (episodes) => {
        const { support, query } = episodes[0]!;
        const spec = (t: HostTensor): { dtype: HostTensor["dtype"]; shape: readonly number[] } => ({ dtype: t.dtype, shape: t.shape });
        const f = await compile(
          context.engine,
          {
            params: Object.fromEntries(names.map((n) => [n, spec(trainable[n]!)])),
            sx: spec(support.x),
            sy: spec(support.y),
            qx: spec(query.x),
          },
          (i, w) => ({
            y: predict(
              adapt(
                { ...(w as unknown as TracedParams), ...(i.params as unknown as TracedParams) },
                i.sx as never,
                i.sy as never,
                c.evalSteps,
                false,
              ),
              i.qx as never,
            ),
          }),
          { frozen: frozen as never, threads: c.threads },
        );
        const answers: HostTensor[] = [];
        for (const e of episodes)
          answers.push(
            ((await f({ params: result.params, sx: e.support.x, sy: e.support.y, qx: e.query.x } as never)) as unknown as { y: HostTensor })
              .y,
          );
        await f.dispose();
        return answers;
      },
    };
  },
});

/** Element i of the leading task axis. */
function item(x: Tensor, i: number): Tensor {
  return reshape(slice(x, 0, i, 1), x.shape.slice(1));
}
