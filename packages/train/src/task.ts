import {
  crossEntropy,
  dimSub,
  type HostTensor,
  inputKind,
  type ModelInput,
  type Outputs,
  pad,
  type Spec,
  slice,
  sym,
  type Tensor,
} from "@lfm/core";

/** Something to learn: typed batches, how a model reads them, and what is to be made small. */
export interface LearningTask {
  readonly name: string;
  /** Types of a batch; symbolic dimensions allowed. */
  readonly batch: Readonly<Record<string, Spec>>;
  /** The batch of a step, a pure function of the step. */
  batches(step: number): Readonly<Record<string, HostTensor>>;
  input(batch: Readonly<Record<string, Tensor>>): ModelInput;
  /** f32[] */
  loss(outputs: Outputs, batch: Readonly<Record<string, Tensor>>): Tensor;
}

/** A task to learn. */
export const taskInput = inputKind<LearningTask>("task");

/** Next-token prediction on `tokens` i32[batch, seq] weighted by `weights` f32[batch, seq] (weight of predicting token t from those before it). */
export function languageModelTask(
  name: string,
  batches: (step: number) => { readonly tokens: HostTensor; readonly weights: HostTensor },
): LearningTask {
  const shape = [sym("batch"), sym("seq")];
  return {
    name,
    batch: { tokens: { dtype: "i32", shape }, weights: { dtype: "f32", shape } },
    batches: (step) => ({ ...batches(step) }),
    input: (b) => ({ tokens: b.tokens! }),
    loss: (out, b) => nextTokenLoss(out, b.tokens!, b.weights!),
  };
}

/** Class labels `labels` i32[batch] for token sequences `tokens` i32[batch, seq] with `mask` f32[batch, seq]. */
export function tokenClassificationTask(
  name: string,
  batches: (step: number) => { readonly tokens: HostTensor; readonly mask: HostTensor; readonly labels: HostTensor },
): LearningTask {
  const shape = [sym("batch"), sym("seq")];
  return {
    name,
    batch: { tokens: { dtype: "i32", shape }, mask: { dtype: "f32", shape }, labels: { dtype: "i32", shape: [sym("batch")] } },
    batches: (step) => ({ ...batches(step) }),
    input: (b) => ({ tokens: b.tokens!, mask: b.mask! }),
    loss: (out, b) => crossEntropy(out.logits!, b.labels!),
  };
}

/** Class labels `labels` i32[batch] for feature vectors `features` f32[batch, n] or images `pixels` f32[batch, c, h, w]. */
export function arrayClassificationTask(
  name: string,
  kind: "features" | "pixels",
  itemShape: readonly number[],
  batches: (step: number) => { readonly x: HostTensor; readonly labels: HostTensor },
): LearningTask {
  return {
    name,
    batch: { x: { dtype: "f32", shape: [sym("batch"), ...itemShape] }, labels: { dtype: "i32", shape: [sym("batch")] } },
    batches: (step) => ({ ...batches(step) }),
    input: (b) => ({ [kind]: b.x! }),
    loss: (out, b) => crossEntropy(out.logits!, b.labels!),
  };
}

/** Weighted mean of −log p(token t | tokens before); prompts in front of the sequence are cut from the logits. */
export function nextTokenLoss(outputs: Outputs, tokens: Tensor, weights: Tensor): Tensor {
  const seq = tokens.dim(1);
  // Labels move instead of logits, which are many times as large: the last position predicts nothing and weighs nothing.
  const ahead = (x: Tensor): Tensor => pad(slice(x, 1, 1, dimSub(seq, 1)), 1, 0, 1);
  return crossEntropy(slice(outputs.logits!, 1, outputs.prefix ?? 0, seq), ahead(tokens), ahead(weights));
}
