/** Prototypical networks (arXiv 1703.05175): c_k = mean of embedded supports of class k; p(y = k | x) = softmax(−‖f(x) − c_k‖²). */
import {
  adam,
  add,
  buffersOf,
  compile,
  concat,
  defineMethod,
  dimSub,
  div,
  type Engine,
  expandDims,
  type HostTensor,
  LfmError,
  type Model,
  makeDelta,
  matmul,
  mul,
  neg,
  oneHot,
  replacedParameters,
  slice,
  square,
  sub,
  sum,
  type Tensor,
  throwIfAborted,
  trainableParams,
  transpose,
  withDeltas,
} from "@lfm/core";
import { type Batch, fit, fitContext, type Scored, scoredLoss, type TaskShape } from "@lfm/train";
import { z } from "zod";
import {
  type Episode,
  episodeSpecs,
  halfOf,
  type MetaInputs,
  type MetaOutput,
  metaInputs,
  stackEpisodes,
  type TracedParams,
  taskOf,
} from "../inputs.js";
import { normOf } from "../statistics-of.js";

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
  delta: replacedParameters,
  run: async (inputs: MetaInputs, c, context): Promise<MetaOutput> => {
    const { model, task, ways, parent = null } = inputs;
    if (!ways) throw new LfmError("CONFIG_INVALID", "[@lfm/meta] protonet: needs classification episodes with a number of ways");
    const trainable = trainableParams(model, embeddingParams(model));
    const buffers = buffersOf(model);
    const frozen = Object.fromEntries(Object.entries(model.params).filter(([n]) => !(n in trainable) && !(n in buffers)));
    const specs = episodeSpecs(await inputs.episodes(0));
    const tasks = Object.values(specs)[0]!.shape[0]!;
    const result = await fit({
      ...fitContext(context, "protonet"),
      trainable,
      buffers,
      frozen,
      batch: specs,
      batches: async (step) => stackEpisodes(await inputs.episodes(step)),
      loss: (params, stack) => {
        let all: TracedParams = params;
        let updated: TracedParams = {};
        const losses = Array.from({ length: tasks }, (_, i) => {
          const found = answer(model, task, all, taskOf(stack, i), ways, "train");
          updated = found.buffers;
          all = { ...all, ...updated };
          return scoredLoss(found.scored).loss;
        });
        const total = losses.reduce((x, l) => add(x, l));
        return { loss: div(total, losses.length), buffers: updated };
      },
      optimizer: adam(),
      lr: c.lr,
      schedule: (step) => (c.halveEvery > 0 ? 0.5 ** Math.floor(step / c.halveEvery) : 1),
      steps: c.steps,
    });
    const delta = makeDelta(protonet, c, { ...result.buffers, ...result.params }, { parent });
    const learned = withDeltas(model, [delta]);
    const predict = async (episodes: readonly Episode[]): Promise<readonly HostTensor[]> => {
      const [first] = episodes;
      if (!first) return [];
      const given = { engine: context.engine, specs: episodeSpecs([first]), params: learned.params };
      const tested = await waysOf(episodes, given, (stack, params) => supportTargets(learned, task, params, taskOf(stack, 0)));
      const f = await compile(
        given.engine,
        given.specs,
        (stack, params: TracedParams) => ({
          y: answer(learned, task, params, taskOf(stack, 0), tested, c.norm === "running" ? "eval" : "train").scored.logits,
        }),
        { frozen: given.params },
      );
      try {
        const answers: HostTensor[] = [];
        for (const episode of episodes) {
          throwIfAborted(context.signal, "[@lfm/meta] protonet");
          answers.push((await f(stackEpisodes([episode]))).y);
        }
        return answers;
      } finally {
        await f.dispose();
      }
    };
    return { delta, model: learned, curves: result.curves, norm: normOf(model, c.norm === "running" ? "none" : "transductive"), predict };
  },
});

/** A last layer for classes has no part in the embedding. */
function embeddingParams(model: Model): readonly string[] {
  const heads = new Set(model.info.sites.flatMap((s) => (s.kind === "head" && s.weight ? [s.weight.name, s.weight.bias] : [])));
  const names = Object.keys(model.info.params).filter((n) => model.info.params[n]!.trainable);
  const embedding = names.filter((n) => !heads.has(n));
  return embedding.length > 0 ? embedding : names;
}

/**
 * Classes of the episodes: one more than the largest that their supports have.
 * @throws {LfmError} SHAPE_MISMATCH for episodes of different sizes or numbers of classes
 */
async function waysOf(
  episodes: readonly Episode[],
  given: { readonly engine: Engine; readonly specs: ReturnType<typeof episodeSpecs>; readonly params: Model["params"] },
  targetsOf: (stack: Batch<Tensor>, params: TracedParams) => Tensor,
): Promise<number> {
  const f = await compile(given.engine, given.specs, (stack, params: TracedParams) => ({ targets: targetsOf(stack, params) }), {
    frozen: given.params,
  });
  try {
    // Joined first, so that those of another size are named.
    stackEpisodes(episodes);
    const ways: number[] = [];
    for (const episode of episodes) {
      const { targets } = await f(stackEpisodes([episode]));
      ways.push(1 + Array.from(targets.data, Number).reduce((most, k) => Math.max(most, k), -1));
    }
    const odd = ways.findIndex((n) => n !== ways[0]);
    if (odd >= 0)
      throw new LfmError("SHAPE_MISMATCH", `[@lfm/meta] protonet: episode ${odd} has ${ways[odd]} classes, episode 0 has ${ways[0]}`, {
        hint: "answer episodes of different numbers of classes in calls of their own",
      });
    return ways[0]!;
  } finally {
    await f.dispose();
  }
}

/** The classes of an episode's supports, i32[n]. @throws {LfmError} CONFIG_INVALID for episodes of values */
function supportTargets(model: Model, task: TaskShape, params: TracedParams, episode: Batch<Tensor>): Tensor {
  const support = halfOf("support", episode);
  return classesOf(task.scored(model.forward(params, task.input(support), { mode: "eval" }), support));
}

function classesOf({ targets }: Scored): Tensor {
  if (targets.dtype === "f32") throw new LfmError("CONFIG_INVALID", "[@lfm/meta] protonet: needs episodes of classes, these have values");
  return targets;
}

/**
 * Queries of one episode answered by their distances to the prototypes of its supports. Support and queries go through the network together,
 * as in the authors' code: in training they share one batch's statistics.
 */
function answer(
  model: Model,
  task: TaskShape,
  params: TracedParams,
  episode: Batch<Tensor>,
  ways: number,
  mode: "train" | "eval",
): { readonly scored: Scored; readonly buffers: TracedParams } {
  const [support, query] = [halfOf("support", episode), halfOf("query", episode)];
  const both = Object.fromEntries(Object.keys(support).map((name) => [name, concat([support[name]!, query[name]!], 0)]));
  const out = model.forward(params, task.input(both), { mode });
  const z = (out.pooled ?? out.logits)!;
  const n = Object.values(support)[0]!.dim(0);
  const [ofSupport, ofQuery] = [slice(z, 0, 0, n), slice(z, 0, n, dimSub(z.dim(0), n))];
  const targets = classesOf(task.scored({ ...out, logits: ofSupport }, support));
  const logits = negativeSquaredDistances(ofQuery, prototypes(ofSupport, targets, ways));
  return { scored: task.scored({ ...out, logits }, query), buffers: out.buffers ?? {} };
}
