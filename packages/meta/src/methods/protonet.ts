/** Prototypical networks (arXiv 1703.05175): c_k = mean of embedded supports of class k; p(y = k | x) = softmax(−‖f(x) − c_k‖²). */
import {
  adam,
  add,
  compile,
  crossEntropy,
  defineMethod,
  div,
  expandDims,
  type HostTensor,
  LfmError,
  matmul,
  mul,
  neg,
  oneHot,
  reshape,
  slice,
  square,
  sub,
  sum,
  type Tensor,
  transpose,
} from "@lfm/core";
import { fit, fitContext, trainableParams } from "@lfm/train";
import { z } from "zod";
import { type MetaInputs, type MetaOutput, stackEpisodes, type TracedParams } from "../inputs.js";

const config = z.strictObject({
  steps: z.number().int().positive().default(1000).describe("training steps"),
  lr: z.number().positive().default(1e-3).describe("step size of Adam"),
});

/** −‖q − c‖² for queries f32[n, d] and prototypes f32[k, d] → f32[n, k]. */
export function negativeSquaredDistances(queries: Tensor, prototypes: Tensor): Tensor {
  const cross = matmul(queries, prototypes, { transB: true });
  const q2 = sum(square(queries), -1, { keepDims: true });
  const c2 = transpose(sum(square(prototypes), -1, { keepDims: true }));
  return neg(add(sub(q2, mul(cross, 2)), c2));
}

/** Mean embedding per class: supports f32[n, d], labels i32[n] → f32[ways, d]. */
export function prototypes(supports: Tensor, labels: Tensor, ways: number): Tensor {
  const membership = oneHot(labels, ways);
  return div(matmul(membership, supports, { transA: true }), expandDims(sum(membership, 0), -1));
}

export const protonet = defineMethod({
  id: "protonet",
  paradigm: "meta",
  summary: "Learns an embedding in which classes gather around the mean of their few examples.",
  paper: { title: "Prototypical Networks for Few-shot Learning", arxiv: "1703.05175", year: 2017, survey: "6.1 white-box meta-learning" },
  needs: ["weights", "grad"],
  config,
  run: async (inputs: MetaInputs, c, context): Promise<MetaOutput> => {
    const { model, ways } = inputs;
    if (inputs.kind !== "classification" || !ways)
      throw new LfmError("CONFIG_INVALID", "[@lfm/meta] protonet: needs classification episodes with a number of ways");
    const trainable = trainableParams(model);
    const buffers = Object.fromEntries(Object.entries(model.params).filter(([n]) => !(n in trainable))) as Record<string, HostTensor>;
    // Batch statistics of the episode in training and in testing, support and query together, as the authors' code does.
    const embed = (params: TracedParams, x: Tensor): { readonly z: Tensor; readonly buffers: Readonly<Record<string, Tensor>> } => {
      const out = model.forward(params, { [inputs.input]: x }, { mode: "train" });
      return { z: (out.pooled ?? out.logits)!, buffers: out.buffers ?? {} };
    };
    const logitsOf = (params: TracedParams, sx: Tensor, sy: Tensor, qx: Tensor): Tensor =>
      negativeSquaredDistances(embed(params, qx).z, prototypes(embed(params, sx).z, sy, ways));
    const example = stackEpisodes(inputs.episodes(0));
    const specs = Object.fromEntries(Object.entries(example).map(([k, t]) => [k, { dtype: t.dtype, shape: t.shape }])) as {
      [K in keyof typeof example]: { dtype: HostTensor["dtype"]; shape: readonly number[] };
    };
    const result = await fit({
      ...fitContext(context, "protonet"),
      trainable,
      frozen: buffers,
      batch: specs,
      batches: (step) => stackEpisodes(inputs.episodes(step)) as never,
      loss: (params, b) => {
        const tasks = example.sx.shape[0]!;
        const pick = (t: Tensor, i: number): Tensor => reshape(slice(t, 0, i, 1), t.shape.slice(1));
        const losses = Array.from({ length: tasks }, (_, i) =>
          crossEntropy(logitsOf(params, pick(b.sx, i), pick(b.sy, i), pick(b.qx, i)), pick(b.qy, i)),
        );
        return {
          loss: div(
            losses.reduce((a, l) => add(a, l)),
            tasks,
          ),
        };
      },
      optimizer: adam(),
      lr: c.lr,
      steps: c.steps,
    });
    return {
      params: result.params,
      curves: result.curves,
      predict: async (episodes) => {
        const spec = (t: HostTensor): { dtype: HostTensor["dtype"]; shape: readonly number[] } => ({ dtype: t.dtype, shape: t.shape });
        const { support, query } = episodes[0]!;
        const f = await compile(
          context.engine,
          { sx: spec(support.x), sy: spec(support.y), qx: spec(query.x) },
          (i, w) => ({ y: logitsOf(w as unknown as TracedParams, i.sx as never, i.sy as never, i.qx as never) }),
          { frozen: { ...buffers, ...result.params } as never },
        );
        const answers: HostTensor[] = [];
        for (const e of episodes)
          answers.push(((await f({ sx: e.support.x, sy: e.support.y, qx: e.query.x } as never)) as unknown as { y: HostTensor }).y);
        await f.dispose();
        return answers;
      },
    };
  },
});
