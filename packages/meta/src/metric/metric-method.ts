/** Training of an embedding by episodes, and answers of its head. */
import {
  adam,
  add,
  buffersOf,
  compile,
  div,
  type HostTensor,
  LfmError,
  type MethodContext,
  type Model,
  throwIfAborted,
  trace,
  trainableParams,
} from "@lfm/core";
import { fit, fitContext, scoredLoss } from "@lfm/train";
import { z } from "zod";
import type { Learned } from "../define-meta-method.js";
import { type Episode, episodeSpecs, headParams, type MetaInputs, stackEpisodes, type TracedParams, taskOf } from "../inputs.js";
import { type Norm, normOption } from "../statistics-of.js";
import { type Embedder, embed, type HeadRule, supportClasses } from "./episode-head.js";

/** Options of a method that trains its embedding by episodes. */
export const metricOptions = {
  steps: z.number().int().positive().default(1000).describe("training steps"),
  lr: z.number().positive().default(1e-3).describe("step size of Adam"),
  halveEvery: z
    .number()
    .int()
    .min(0)
    .default(0)
    .describe("steps after which the step size is halved, again and again (prototypical networks: 2000); 0: never"),
  norm: normOption("none"),
};

type MetricConfig = z.output<z.ZodObject<typeof metricOptions>>;

/** @throws {LfmError} CONFIG_INVALID for episodes without classes, and as `fit` */
export async function learnEmbedding(
  id: string,
  inputs: MetaInputs,
  c: MetricConfig,
  rule: HeadRule,
  context: MethodContext,
): Promise<Learned> {
  const { model, task, ways } = inputs;
  if (!ways)
    throw new LfmError("CONFIG_INVALID", `[@lfm/meta] ${id}: needs classification episodes with a number of ways`, {
      hint: "lfm meta maml learns values too",
    });
  const specs = episodeSpecs(await inputs.episodes(0));
  const tasks = Object.values(specs)[0]!.shape[0]!;
  const own = rule.own?.(widthOf({ model, task }, specs)) ?? {};
  const trainable = { ...trainableParams(model, embeddingParams(model)), ...own };
  const buffers = buffersOf(model);
  const result = await fit({
    ...fitContext(context, id),
    trainable,
    buffers,
    frozen: Object.fromEntries(Object.entries(model.params).filter(([n]) => !(n in trainable) && !(n in buffers))),
    batch: specs,
    batches: async (step) => stackEpisodes(await inputs.episodes(step)),
    loss: (params, stack) => {
      let all: TracedParams = params;
      let updated: TracedParams = {};
      const losses = Array.from({ length: tasks }, (_, i) => {
        const found = embed({ model, task }, all, taskOf(stack, i), "transductive");
        updated = found.buffers;
        all = { ...all, ...updated };
        const scored = found.score(rule.head({ ...found, ways, learned: all }));
        return rule.loss ? rule.loss(scored.logits, scored.targets, ways) : scoredLoss(scored).loss;
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
  return { tensors: { ...result.buffers, ...result.params }, curves: result.curves };
}

/** A last layer for classes has no part in the embedding. */
function embeddingParams(model: Model): readonly string[] {
  const heads = new Set(headParams(model));
  const ofDelta = Object.keys(model.live ?? {}).filter((n) => !Object.hasOwn(model.info.params, n));
  if (ofDelta.length > 0) return ofDelta;
  const names = Object.keys(model.info.params).filter((n) => model.info.params[n]!.trainable);
  const embedding = names.filter((n) => !heads.has(n));
  return embedding.length > 0 ? embedding : names;
}

/** Numbers in an embedding. */
function widthOf(embedder: Embedder, specs: ReturnType<typeof episodeSpecs>): number {
  let width = 0;
  trace(
    { ...specs },
    (stack, params: TracedParams) => {
      const { supports } = embed(embedder, params, taskOf(stack, 0), "none");
      width = supports.dim(1) as number;
      return supports;
    },
    embedder.model.params,
  );
  return width;
}

/** Queries of each episode, f32[query, ways], by a head over embeddings. @throws {LfmError} ABORTED, SHAPE_MISMATCH for episodes of different sizes or numbers of classes */
export async function answerByHead(
  id: string,
  embedder: Embedder & { readonly tensors: Readonly<Record<string, HostTensor>> },
  rule: HeadRule,
  norm: Norm,
  episodes: readonly Episode[],
  context: Pick<MethodContext, "engine" | "signal">,
): Promise<readonly HostTensor[]> {
  const [first] = episodes;
  if (!first) return [];
  const specs = episodeSpecs([first]);
  const params = { ...embedder.model.params, ...embedder.tensors };
  const ways = await waysOf(id, episodes, embedder, params, context);
  const f = await compile(
    context.engine,
    specs,
    (stack, learned: TracedParams) => {
      const found = embed(embedder, learned, taskOf(stack, 0), norm);
      return { y: found.score(rule.head({ ...found, ways, learned })).logits };
    },
    { frozen: params },
  );
  try {
    const answers: HostTensor[] = [];
    for (const episode of episodes) {
      throwIfAborted(context.signal, `[@lfm/meta] ${id}`);
      answers.push((await f(stackEpisodes([episode]))).y);
    }
    return answers;
  } finally {
    await f.dispose();
  }
}

/**
 * Classes of the episodes: one more than the largest that their supports have.
 * @throws {LfmError} SHAPE_MISMATCH for episodes of different sizes or numbers of classes, and for a class without an example
 */
async function waysOf(
  id: string,
  episodes: readonly Episode[],
  embedder: Embedder,
  params: Model["params"],
  { engine }: Pick<MethodContext, "engine">,
): Promise<number> {
  const targetsOf = (stack: TracedParams, learned: TracedParams) => ({ targets: supportClasses(embedder, learned, taskOf(stack, 0)) });
  const f = await compile(engine, episodeSpecs([episodes[0]!]), targetsOf, { frozen: params });
  try {
    // Joined first, so that those of another size are named.
    stackEpisodes(episodes);
    const ways: number[] = [];
    for (const [i, episode] of episodes.entries()) {
      const { targets } = await f(stackEpisodes([episode]));
      const classes = new Set(Array.from(targets.data, Number));
      const count = 1 + Math.max(...classes);
      if (classes.size < count)
        throw new LfmError("SHAPE_MISMATCH", `[@lfm/meta] ${id}: class ${missing(classes)} of episode ${i} has no example in its support`, {
          hint: "number the classes of an episode from 0 without gaps",
        });
      ways.push(count);
    }
    const odd = ways.findIndex((n) => n !== ways[0]);
    if (odd >= 0)
      throw new LfmError("SHAPE_MISMATCH", `[@lfm/meta] ${id}: episode ${odd} has ${ways[odd]} classes, episode 0 has ${ways[0]}`, {
        hint: "answer episodes of different numbers of classes in calls of their own",
      });
    return ways[0]!;
  } finally {
    await f.dispose();
  }
}

function missing(classes: ReadonlySet<number>): number {
  let k = 0;
  while (classes.has(k)) k++;
  return k;
}
