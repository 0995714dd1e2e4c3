import {
  cast,
  concat,
  crossEntropy,
  type Dim,
  dimMul,
  dimScalar,
  dimSub,
  div,
  f32,
  full,
  greaterEqual,
  type Hook,
  type HostTensor,
  i32,
  inputKind,
  type ModelInput,
  maximum,
  mean,
  mul,
  type Outputs,
  pad,
  slice,
  square,
  sub,
  sum,
  sym,
  type Tensor,
} from "@lfm/core";
import { scoredHead, scoredPositions, scoredSpec, scoredTokens } from "./scored-positions.js";
import type { Batch, BatchSpec, LossContext, LossResult } from "./training.js";

/** The positions of a batch that count, with what is right at each of them. */
export interface Scored {
  /** f32[…, classes]; for values f32[…, outputs]. */
  readonly logits: Tensor;
  /** i32[…] of classes, or f32[…, outputs] of values. */
  readonly targets: Tensor;
  /** f32[…]: how much each position counts, 0 for padding. Absent: all alike. */
  readonly weights?: Tensor;
}

/** A model as the loss of a task sees it: with what learns, and without. */
export interface TaskForward extends LossContext {
  (input: ModelInput, hooks?: readonly Hook[]): Outputs;
  /** The model without what learns, in eval mode: the reference of DPO, LwF and KL penalties. Traced when it is asked; no gradient reaches it. */
  base(input: ModelInput, hooks?: readonly Hook[]): Outputs;
}

/** Something to learn: typed batches, how a model reads them, which positions count, and what is to be made small. */
export interface LearningTask {
  readonly name: string;
  /** Types of a batch; symbolic dimensions allowed. */
  readonly batch: BatchSpec;
  /** The batch of a number, from 0: a pure function of it. */
  batches(number: number): Batch;
  /** Batches that show every example once, where examples are finite. */
  readonly perEpoch?: number;
  input(batch: Batch<Tensor>): ModelInput;
  /** What the task itself puts into the forward pass: a head that reads the scored positions alone. */
  hooks?(batch: Batch<Tensor>): readonly Hook[];
  /** What counts in the outputs, with the task's hooks or without them. */
  scored(outputs: Outputs, batch: Batch<Tensor>): Scored;
  /** What is made small. Default of {@link defineTask}: {@link scoredLoss}. */
  loss(forward: TaskForward, batch: Batch<Tensor>): Omit<LossResult, "buffers">;
}

/** A task without its data: what a batch looks like and what is right about it. */
export type TaskShape = Omit<LearningTask, "batches" | "perEpoch">;

/** A task; without a loss of its own its loss is that of its scored positions. */
export function defineTask(task: Omit<TaskShape, "loss"> & Partial<Pick<TaskShape, "loss">>): TaskShape {
  // By `this`, so that a task made of another one by spreading it is scored by what it replaced.
  return {
    loss(this: TaskShape, forward, batch) {
      return scoredLoss(this.scored(forward(this.input(batch), this.hooks?.(batch)), batch));
    },
    ...task,
  };
}

/**
 * Mean over the scored positions of cross entropy (targets of classes) or squared error (targets of values), with their joint weight, so that
 * micro-batches of different sizes add up to the same gradient as one batch. Where nothing counts it is 0.
 */
export function scoredLoss(scored: Scored): Required<Pick<LossResult, "loss" | "weight">> {
  const { logits, targets, weights } = scored;
  if (targets.dtype === "f32") {
    const weight = weights ? sum(weights) : dimScalar(targets.shape.slice(0, -1).reduce((n: Dim, d) => dimMul(n, d), 1));
    return { loss: weightedMean(mean(square(sub(logits, targets)), -1), weights), weight };
  }
  const weight = weights ? sum(weights) : sum(cast(greaterEqual(targets, 0), "f32"));
  return { loss: crossEntropy(logits, targets, weights), weight };
}

/** Σ wᵢxᵢ / Σ wᵢ, 0 where all weigh 0; without weights the mean. x, weights — f32[…]. f32[] */
export function weightedMean(x: Tensor, weights: Tensor | undefined): Tensor {
  return weights ? div(sum(mul(x, weights)), maximum(sum(weights), 1e-8)) : mean(x);
}

/** A task to learn. */
export const taskInput = inputKind<LearningTask>("task");

/** How texts are read that are predicted token by token. */
export interface PredictedRows {
  /** They are answers to texts that an encoder reads: `source` i32[batch, source] and `sourceMask` f32[batch, source]. */
  readonly answers?: boolean;
  /** Rows hold several examples, told apart by `packed` i32[batch, seq], with `positions` i32[batch, seq] (see {@link ModelInput}). */
  readonly packed?: boolean;
}

/**
 * Next-token prediction on `tokens` i32[batch, seq] weighted by `weights` f32[batch, seq] (weight of predicting token t from those before it);
 * the head runs on `scored` i32[scored] alone (see {@link scoredPositions}).
 */
export function languageModeling(name: string, { answers = false, packed = false }: PredictedRows = {}): TaskShape {
  const shape = [sym("batch"), sym("seq")];
  const ofSource = [sym("batch"), sym("source")];
  const source: BatchSpec = { source: { dtype: "i32", shape: ofSource }, sourceMask: { dtype: "f32", shape: ofSource } };
  const ids = { dtype: "i32", shape } as const;
  const apart: BatchSpec = { packed: ids, positions: ids };
  return defineTask({
    name,
    batch: { tokens: ids, weights: { dtype: "f32", shape }, scored: scoredSpec, ...(answers ? source : {}), ...(packed ? apart : {}) },
    input: (b) => {
      if (answers) return { tokens: b.source!, mask: b.sourceMask!, decoder: { tokens: b.tokens! } };
      return { tokens: b.tokens!, ...(packed ? { packed: b.packed!, positions: b.positions! } : {}) };
    },
    hooks: (b) => [scoredHead(b.scored!, b.tokens!)],
    scored: (out, b) =>
      out.logits!.rank === 2 ? scoredTokens(out, b.tokens!, b.weights!, b.scored!) : nextTokens(out, b.tokens!, b.weights!),
  });
}

/** How rows of tokens are read. */
export interface TokenRows {
  /** Rows are two texts: `segments` i32[batch, seq] tell the first (0) from the second (1). */
  readonly pairs?: boolean;
}

/** Class labels `labels` i32[batch] for token sequences `tokens` i32[batch, seq] with `mask` f32[batch, seq]. */
export function tokenClassification(name: string, rows: TokenRows = {}): TaskShape {
  return defineTask({
    name,
    batch: { ...tokenSpec(rows), labels: { dtype: "i32", shape: [sym("batch")] } },
    input: tokenInput(rows),
    scored: (out, b) => ({ logits: out.logits!, targets: b.labels! }),
  });
}

/** Values `values` f32[batch, outputs] for token sequences, as {@link tokenClassification}: squared error. */
export function tokenRegression(name: string, outputs: number, rows: TokenRows = {}): TaskShape {
  return defineTask({
    name,
    batch: { ...tokenSpec(rows), values: { dtype: "f32", shape: [sym("batch"), outputs] } },
    input: tokenInput(rows),
    scored: (out, b) => ({ logits: out.logits!, targets: b.values! }),
  });
}

/** What of a batch of token sequences goes into a model. */
export function tokenSpec({ pairs = false }: TokenRows): BatchSpec {
  const shape = [sym("batch"), sym("seq")];
  return { tokens: { dtype: "i32", shape }, mask: { dtype: "f32", shape }, ...(pairs ? { segments: { dtype: "i32", shape } } : {}) };
}

/** The input of a model of a batch as {@link tokenSpec} has it. */
export function tokenInput({ pairs = false }: TokenRows): TaskShape["input"] {
  return (b) => ({ tokens: b.tokens!, mask: b.mask!, ...(pairs ? { segments: b.segments! } : {}) });
}

/** Class labels `labels` i32[batch] for feature vectors `features` f32[batch, n] or images `pixels` f32[batch, c, h, w], `x`. */
export function arrayClassification(name: string, kind: "features" | "pixels", itemShape: readonly number[]): TaskShape {
  return defineTask({
    name,
    batch: { x: { dtype: "f32", shape: [sym("batch"), ...itemShape] }, labels: { dtype: "i32", shape: [sym("batch")] } },
    input: (b) => ({ [kind]: b.x! }),
    scored: (out, b) => ({ logits: out.logits!, targets: b.labels! }),
  });
}

/** Values `y` f32[batch, outputs] for feature vectors or images `x`, as {@link arrayClassification}. */
export function arrayRegression(name: string, kind: "features" | "pixels", itemShape: readonly number[], outputs: number): TaskShape {
  return defineTask({
    name,
    batch: { x: { dtype: "f32", shape: [sym("batch"), ...itemShape] }, y: { dtype: "f32", shape: [sym("batch"), outputs] } },
    input: (b) => ({ [kind]: b.x! }),
    scored: (out, b) => ({ logits: out.logits!, targets: b.y! }),
  });
}

/** A task of this shape with its batches. @param perEpoch batches that show every example once */
export function withBatches(shape: TaskShape, batches: LearningTask["batches"], perEpoch?: number): LearningTask {
  return { ...shape, batches, ...(perEpoch === undefined ? {} : { perEpoch }) };
}

/** What is predicted, and of answers what an encoder reads. */
export interface PredictedBatch {
  /** i32[batch, seq] */
  readonly tokens: HostTensor;
  /** f32[batch, seq] */
  readonly weights: HostTensor;
  /** i32[batch, source] */
  readonly source?: HostTensor;
  /** f32[batch, source] */
  readonly sourceMask?: HostTensor;
}

/** {@link languageModeling} on batches; which positions count is read from their weights. */
export function languageModelTask(
  name: string,
  batches: (number: number) => PredictedBatch,
  perEpoch?: number,
  rows: PredictedRows = {},
): LearningTask {
  const scoring = (number: number): Batch => {
    const batch = batches(number);
    return { ...batch, scored: scoredPositions(batch.weights) };
  };
  return withBatches(languageModeling(name, rows), scoring, perEpoch);
}

/**
 * Labels of an encoder-decoder, as transformers takes them, as what its decoder reads and learns: shifted right behind `start`. Labels below 0
 * (−100) are not learned, and where they stand before others the decoder reads `pad`.
 * @param labels i32[batch, target]
 * @returns tokens i32[batch, 1 + target] and weights f32[batch, 1 + target]
 */
export function answersOfLabels(labels: HostTensor, { start, pad = 0 }: { readonly start: number; readonly pad?: number }): PredictedBatch {
  const [rows, target] = labels.shape as readonly [number, number];
  const tokens = new Int32Array(rows * (target + 1));
  const weights = new Float32Array(tokens.length);
  for (let b = 0; b < rows; b++) {
    tokens[b * (target + 1)] = start;
    for (let t = 0; t < target; t++) {
      const [id, at] = [Number(labels.data[b * target + t]), b * (target + 1) + t + 1];
      tokens[at] = id < 0 ? pad : id;
      weights[at] = id < 0 ? 0 : 1;
    }
  }
  const shape = [rows, target + 1];
  return { tokens: i32(tokens, shape), weights: f32(weights, shape) };
}

/** {@link tokenClassification} on batches. */
export function tokenClassificationTask(name: string, batches: LearningTask["batches"], perEpoch?: number): LearningTask {
  return withBatches(tokenClassification(name), batches, perEpoch);
}

/** {@link arrayClassification} on batches. */
export function arrayClassificationTask(
  name: string,
  kind: "features" | "pixels",
  itemShape: readonly number[],
  batches: LearningTask["batches"],
  perEpoch?: number,
): LearningTask {
  return withBatches(arrayClassification(name, kind, itemShape), batches, perEpoch);
}

/** Answers of several tasks to one batch, one below the other: missing classes are impossible ones. logits — f32[rows, classes] each. */
export function joinScored(parts: readonly Scored[]): Scored {
  const classes = Math.max(...parts.map(({ logits }) => logits.dim(1) as number));
  const padded = parts.map(({ logits }) => {
    const missing = classes - (logits.dim(1) as number);
    return missing === 0 ? logits : concat([logits, full([logits.dim(0), missing], IMPOSSIBLE)], 1);
  });
  return {
    logits: concat(padded, 0),
    targets: concat(
      parts.map((p) => p.targets),
      0,
    ),
  };
}

/** A logit whose probability is 0 in f32, with finite differences to all others. */
const IMPOSSIBLE = -1e9;

/** Each token as predicted from those before it; what prompts put in front is left out. */
export function nextTokens(outputs: Outputs, tokens: Tensor, weights: Tensor): Required<Scored> {
  // Labels move instead of logits, which are many times as large: the last position predicts nothing and weighs nothing.
  const ahead = (x: Tensor): Tensor => pad(slice(x, 1, 1, dimSub(tokens.dim(1), 1)), 1, 0, 1);
  return { logits: slice(outputs.logits!, 1, outputs.prefix ?? 0, tokens.dim(1)), targets: ahead(tokens), weights: ahead(weights) };
}
