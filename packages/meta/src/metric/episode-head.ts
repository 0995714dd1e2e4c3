/** Methods that answer by an embedding and a head: what the queries' embeddings are told by those of the labelled few. */
import { concat, dimSub, type HostTensor, LfmError, type Model, type ModelInput, slice, type Tensor } from "@lfm/core";
import type { Batch, Scored, TaskShape } from "@lfm/train";
import { halfOf, type TracedParams } from "../inputs.js";
import { forwardBy, type Norm } from "../statistics-of.js";

/** The labelled few of an episode as a head sees them, and what it is asked. */
export interface Embedded {
  /** f32[n, d] */
  readonly supports: Tensor;
  /** i32[n], each class from 0 to ways − 1 at least once. */
  readonly labels: Tensor;
  readonly ways: number;
  /** f32[m, d] */
  readonly queries: Tensor;
  /** All that was learned: the head's own tensors among it. */
  readonly learned: TracedParams;
}

/** f32[m, ways]: scores of the classes for each query, logits where {@link HeadRule.loss} says nothing else. */
type EpisodeHead = (given: Embedded) => Tensor;

export interface HeadRule {
  readonly head: EpisodeHead;
  /** f32[]: what training makes small; default the mean cross entropy of the scores. `targets` — i32[m] */
  readonly loss?: (scores: Tensor, targets: Tensor, ways: number) => Tensor;
  /** What the head learns beside the embedding, for embeddings of a width. Names begin with {@link OF_HEAD}. */
  readonly own?: (width: number) => Readonly<Record<string, HostTensor>>;
}

/** In front of the names of a head's own tensors. */
export const OF_HEAD = "head.";

/** How an episode is embedded. */
export interface Embedder {
  readonly model: Model;
  readonly task: TaskShape;
}

/**
 * Embeddings of an episode. In training support and queries go through the network together, as in the authors' code of prototypical networks,
 * and share one batch's statistics.
 * @param norm whose statistics a batch norm takes; "transductive" those of support and queries together
 */
export function embed(
  { model, task }: Embedder,
  params: TracedParams,
  episode: Batch<Tensor>,
  norm: Norm,
): {
  readonly supports: Tensor;
  readonly queries: Tensor;
  readonly labels: Tensor;
  readonly buffers: TracedParams;
  score(logits: Tensor): Scored;
} {
  const [support, query] = [halfOf("support", episode), halfOf("query", episode)];
  const n = Object.values(support)[0]!.dim(0);
  if (norm === "support") {
    const [ofSupport, ofQuery] = [task.input(support), task.input(query)];
    const supports = forwardBy("transductive", model, params, ofSupport);
    const queries = forwardBy("support", model, params, ofQuery, ofSupport);
    const labels = classesOf(task.scored({ ...supports, logits: embeddingOf(supports) }, support));
    return {
      supports: embeddingOf(supports),
      queries: embeddingOf(queries),
      labels,
      buffers: {},
      score: (logits) => task.scored({ ...queries, logits }, query),
    };
  }
  const both = Object.fromEntries(Object.keys(support).map((name) => [name, concat([support[name]!, query[name]!], 0)]));
  const out = forwardBy(norm, model, params, task.input(both));
  const z = embeddingOf(out);
  const supports = slice(z, 0, 0, n);
  return {
    supports,
    queries: slice(z, 0, n, dimSub(z.dim(0), n)),
    labels: classesOf(task.scored({ ...out, logits: supports }, support)),
    buffers: out.buffers ?? {},
    score: (logits) => task.scored({ ...out, logits }, query),
  };
}

/** The classes of an episode's supports, i32[n]. @throws {LfmError} CONFIG_INVALID for episodes of values */
export function supportClasses({ model, task }: Embedder, params: TracedParams, episode: Batch<Tensor>): Tensor {
  const support = halfOf("support", episode);
  const input: ModelInput = task.input(support);
  return classesOf(task.scored(forwardBy("none", model, params, input), support));
}

function embeddingOf(out: ReturnType<Model["forward"]>): Tensor {
  const z = out.pooled ?? out.logits;
  if (z) return z;
  throw new LfmError(
    "CAPABILITY_MISSING",
    "[@lfm/meta] the model gives neither a pooled vector nor logits: nothing to compare examples by",
  );
}

function classesOf({ targets }: Scored): Tensor {
  if (targets.dtype === "f32")
    throw new LfmError("CONFIG_INVALID", "[@lfm/meta] this method tells classes apart, and these episodes have values", {
      hint: "lfm meta maml learns values too",
    });
  return targets;
}
