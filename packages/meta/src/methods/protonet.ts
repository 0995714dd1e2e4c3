/** Prototypical networks (arXiv 1703.05175): c_k = mean of embedded supports of class k; p(y = k | x) = softmax(−‖f(x) − c_k‖²). */
import {
  adam,
  add,
  compile,
  concat,
  crossEntropy,
  defineMethod,
  div,
  expandDims,
  type HostTensor,
  LfmError,
  loadWeight,
  matmul,
  mul,
  neg,
  oneHot,
  slice,
  square,
  sub,
  sum,
  type Tensor,
  throwIfAborted,
  transpose,
} from "@lfm/core";
import { fit, fitContext, trainableParams } from "@lfm/train";
import { z } from "zod";
import {
  type Episode,
  episodeSpecs,
  type MetaInputs,
  type MetaOutput,
  metaInputs,
  stackEpisodes,
  type TracedParams,
  taskOf,
} from "../inputs.js";

const config = z.strictObject({
  steps: z.number().int().positive().default(1000).describe("training steps"),
  lr: z.number().positive().default(1e-3).describe("step size of Adam"),
  halveEvery: z
    .number()
    .int()
    .min(0)
    .default(0)
    .describe("steps after which the step size is halved, again and again (the paper: 2000); 0: never"),
  norm: z
    .enum(["running", "episode"])
    .default("running")
    .describe("batch norm when answering: statistics of training, or of the episode at hand (transductive)"),
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
  inputs: metaInputs,
  config,
  run: async (inputs: MetaInputs, c, context): Promise<MetaOutput> => {
    const { model, ways } = inputs;
    if (inputs.kind !== "classification" || !ways)
      throw new LfmError("CONFIG_INVALID", "[@lfm/meta] protonet: needs classification episodes with a number of ways");
    // A last layer for classes has no part in the embedding.
    const heads = new Set(model.info.sites.flatMap((s) => (s.kind === "head" && s.weight ? [s.weight.name, s.weight.bias] : [])));
    const names = Object.keys(model.info.params).filter((n) => model.info.params[n]!.trainable);
    const embedding = names.filter((n) => !heads.has(n));
    const trainable = trainableParams(model, embedding.length > 0 ? embedding : names);
    const buffers = Object.fromEntries(
      Object.entries(model.params)
        .filter(([n]) => model.info.params[n]?.trainable === false)
        .map(([n, w]) => [n, loadWeight(w)]),
    );
    const rest = Object.fromEntries(Object.entries(model.params).filter(([n]) => !(n in trainable) && !(n in buffers)));
    // Support and queries go through the network together, as in the authors' code: in training they share one batch's statistics.
    const embed = (params: TracedParams, sx: Tensor, qx: Tensor, mode: "train" | "eval"): Embedded => {
      const out = model.forward(params, { [inputs.input]: concat([sx, qx], 0) }, { mode });
      const z = (out.pooled ?? out.logits)!;
      const n = sx.shape[0]!;
      return { support: slice(z, 0, 0, n), query: slice(z, 0, n, qx.shape[0]!), buffers: out.buffers ?? {} };
    };
    const specs = episodeSpecs(await inputs.episodes(0));
    const result = await fit({
      ...fitContext(context, "protonet"),
      trainable,
      buffers,
      frozen: rest,
      batch: specs,
      batches: async (step) => stackEpisodes(await inputs.episodes(step)) as never,
      loss: (params, b) => {
        let all: TracedParams = params;
        let updated: Readonly<Record<string, Tensor>> = {};
        const losses = Array.from({ length: specs.sx.shape[0]! }, (_, i) => {
          const z = embed(all, taskOf(b.sx, i), taskOf(b.qx, i), "train");
          updated = z.buffers;
          all = { ...all, ...updated };
          const logits = negativeSquaredDistances(z.query, prototypes(z.support, taskOf(b.sy, i), ways));
          return crossEntropy(logits, taskOf(b.qy, i));
        });
        return {
          loss: div(
            losses.reduce((x, l) => add(x, l)),
            losses.length,
          ),
          buffers: updated,
        };
      },
      optimizer: adam(),
      lr: c.lr,
      schedule: (step) => (c.halveEvery > 0 ? 0.5 ** Math.floor(step / c.halveEvery) : 1),
      steps: c.steps,
    });
    const learned = { ...result.buffers, ...result.params };
    const predict = async (episodes: readonly Episode[]): Promise<readonly HostTensor[]> => {
      if (episodes.length === 0) return [];
      const { sx, sy, qx } = episodeSpecs(episodes.slice(0, 1));
      const tested = 1 + Math.max(...Array.from(episodes[0]!.support.y.data, Number));
      const f = await compile(
        context.engine,
        { sx, sy, qx },
        (i, w) => {
          const b = i as unknown as { sx: Tensor; sy: Tensor; qx: Tensor };
          const z = embed(w as unknown as TracedParams, taskOf(b.sx, 0), taskOf(b.qx, 0), c.norm === "running" ? "eval" : "train");
          return { y: negativeSquaredDistances(z.query, prototypes(z.support, taskOf(b.sy, 0), tested)) };
        },
        { frozen: { ...rest, ...learned } as never },
      );
      try {
        const answers: HostTensor[] = [];
        for (const episode of episodes) {
          throwIfAborted(context.signal, "[@lfm/meta] protonet");
          const { sx: x, sy: y, qx: q } = stackEpisodes([episode]);
          answers.push(((await f({ sx: x, sy: y, qx: q } as never)) as unknown as { y: HostTensor }).y);
        }
        return answers;
      } finally {
        await f.dispose();
      }
    };
    return { params: learned, curves: result.curves, predict };
  },
});

interface Embedded {
  readonly support: Tensor;
  readonly query: Tensor;
  readonly buffers: Readonly<Record<string, Tensor>>;
}
