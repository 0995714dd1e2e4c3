import {
  add,
  cast,
  crossEntropyPerItem,
  type Delta,
  dimSub,
  div,
  type ForwardContext,
  f32,
  gather,
  greaterEqual,
  type HostTensor,
  i32,
  inputKind,
  LfmError,
  type Model,
  type ParamTree,
  reshape,
  type Spec,
  slice,
  sum,
  sym,
  type Tensor,
} from "@lfm/core";
import type { TextRules } from "@lfm/models";
import type { Corpus, GramStatistics } from "@lfm/statistics";
import { scoredHead, scoredPositions, scoredSpec } from "@lfm/train";
import type { TrainedEditor } from "./trained-editor.js";

/** One fact to write, tokenised. */
export interface EditRequest {
  /** Prompt tokens, the answer not included. */
  readonly prompt: readonly number[];
  /** Index in `prompt` of the subject's last token. */
  readonly subjectEnd: number;
  /** Tokens of the new answer. */
  readonly target: readonly number[];
  /** Tokens at the start of `prompt` that stay before a prefix (a beginning-of-sequence token). Default 0. */
  readonly start?: number;
  /** A neutral text that ends in the subject: what the model makes of the subject there shall not change. Default: the prompt up to the subject. */
  readonly essence?: readonly number[];
}

/** An edit with what follows from it and what does not. */
export interface EditDemonstration {
  readonly request: EditRequest;
  /** Other prompts that ask the same, with the answer as it follows them. */
  readonly paraphrases: readonly Pick<EditRequest, "prompt" | "target">[];
  /** Sequences that have nothing to do with the fact: what is predicted at their tokens shall stay. */
  readonly unrelated: readonly (readonly number[])[];
}

/** What edits of one model are made with, whatever the facts. */
export interface EditorInputs {
  readonly model: Model;
  /** Texts to take the second moments of keys from. Not read where there are {@link statistics}. */
  readonly corpus?: Corpus;
  /** Second moments of what flows into the layers of the base, taken before. */
  readonly statistics?: GramStatistics;
  /** For methods that edit with a network that was trained for the model. */
  readonly editor?: TrainedEditor;
  /** How the model reads text: for methods that put facts into words. */
  readonly text?: TextRules;
  /** Edits that show how facts in words are to be used. */
  readonly demonstrations?: readonly EditDemonstration[];
  /** Token sequences to put before the prompt; the prompt alone is always used too. */
  readonly prefixes?: readonly (readonly number[])[];
  /** Hash of the base. */
  readonly parent?: string;
}

export interface EditingInputs extends EditorInputs {
  /** Facts to write; what they have in common is the method's: one batch, or one after the other. */
  readonly requests: readonly EditRequest[];
  /** Earlier edits, in their order: they lie below. Statistics are still those of `model`, which stands without them. */
  readonly previous?: readonly Delta[];
  /**
   * Facts that are written at once, at least 1; the next so many are written into the model with those before. Default: all, and by a method that
   * knows no batches one.
   */
  readonly batch?: number;
}

/** Facts to write. */
export const editRequestsInput = inputKind<readonly EditRequest[]>("edit-requests");
/** Facts that are written at once. */
export const editBatchInput = inputKind<number>("edit-batch");
/** Texts to take the second moments of keys from. */
export const keyCorpusInput = inputKind<Corpus>("key-corpus");
/** Second moments of what flows into the model's layers. */
export const gramInput = inputKind<GramStatistics>("gram");

/** What a method is given that needs to know where the keys of the model's text lie. */
export const keyInputs = {
  corpus: { kind: keyCorpusInput, optional: true, about: "to take the statistics of keys from" },
  statistics: { kind: gramInput, optional: true, about: "of keys, instead of a corpus" },
} as const;

export interface EditingOutput {
  /** The edit as an immutable patch, all facts in one; dropping it gives back the model below bit for bit. */
  readonly delta: Delta;
  /** The model with earlier edits and this one on it. */
  readonly model: Model;
  /**
   * The loss of each search; where facts are written one after the other, `loss.1`, `loss.2` and so on. Where nothing is searched, what it is `before`
   * the edit.
   */
  readonly curves: Readonly<Record<string, readonly (readonly [number, number])[]>>;
}

/** The losses of one search as `loss`; of several, that came one after the other, as `loss.1`, `loss.2` and so on. */
export function namedCurves(losses: readonly EditingOutput["curves"][string][]): EditingOutput["curves"] {
  return Object.fromEntries(losses.map((curve, i) => [losses.length > 1 ? `loss.${i + 1}` : "loss", curve]));
}

/** A padded batch of sequences with the answer tokens marked: labels are −100 elsewhere. */
export interface EditBatch {
  readonly tokens: HostTensor;
  readonly mask: HostTensor;
  /** i32[n, seq]: the token itself where it is part of the answer. */
  readonly labels: HostTensor;
  /** i32[n]: position of the subject's last token. */
  readonly subject: HostTensor;
  /** i32[scored]: where an answer's token is predicted, see {@link scoredPositions}. */
  readonly scored: HostTensor;
}

export const editBatchSpec = {
  tokens: { dtype: "i32", shape: [sym("batch"), sym("seq")] },
  mask: { dtype: "f32", shape: [sym("batch"), sym("seq")] },
  labels: { dtype: "i32", shape: [sym("batch"), sym("seq")] },
  subject: { dtype: "i32", shape: [sym("batch")] },
  scored: scoredSpec,
} as const satisfies Record<string, Spec>;

/** One sequence of an edit's batch. */
export interface EditRow {
  readonly tokens: readonly number[];
  readonly subject: number;
  /** The last so many tokens are the answer. */
  readonly answer: number;
}

/** @throws {LfmError} CONFIG_INVALID where there is nothing to write */
export function requireRequests(requests: readonly EditRequest[]): void {
  if (requests.length === 0) throw new LfmError("CONFIG_INVALID", "[@lfm/editing] an edit needs one request or more, got none");
}

/** The request behind every prefix (the empty one gives the prompt alone). @throws {LfmError} CONFIG_INVALID */
export function promptRows(request: EditRequest, prefixes: readonly (readonly number[])[]): EditRow[] {
  const { prompt, target, subjectEnd, start = 0 } = request;
  if (prompt.length === 0 || target.length === 0)
    throw new LfmError(
      "CONFIG_INVALID",
      `[@lfm/editing] an edit needs a prompt and a target, got ${prompt.length} and ${target.length} tokens`,
    );
  if (!Number.isInteger(subjectEnd) || subjectEnd < 0 || subjectEnd >= prompt.length)
    throw new LfmError("CONFIG_INVALID", `[@lfm/editing] subjectEnd ${subjectEnd} lies outside the prompt of ${prompt.length} tokens`);
  return prefixes.map((prefix) => ({
    tokens: [...prompt.slice(0, start), ...prefix, ...prompt.slice(start), ...target],
    subject: prefix.length + subjectEnd,
    answer: target.length,
  }));
}

/** The subject by itself: the row that keeps its meaning in place. */
export function essenceRow({ essence, prompt, subjectEnd }: EditRequest): EditRow {
  const tokens = essence ?? prompt.slice(0, subjectEnd + 1);
  return { tokens, subject: tokens.length - 1, answer: 0 };
}

/** Rows, right-padded. */
export function editBatch(rows: readonly EditRow[]): EditBatch {
  const n = rows.length;
  const seq = Math.max(...rows.map((r) => r.tokens.length));
  const [tokens, mask, labels, subject] = [
    new Int32Array(n * seq),
    new Float32Array(n * seq),
    new Int32Array(n * seq).fill(-100),
    new Int32Array(n),
  ];
  rows.forEach((row, i) => {
    row.tokens.forEach((t, j) => {
      tokens[i * seq + j] = t;
      mask[i * seq + j] = 1;
      if (j >= row.tokens.length - row.answer) labels[i * seq + j] = t;
    });
    subject[i] = row.subject;
  });
  return {
    ...{ tokens: i32(tokens, [n, seq]), mask: f32(mask, [n, seq]), labels: i32(labels, [n, seq]), subject: i32(subject) },
    scored: scoredPositions(
      f32(
        Float32Array.from(labels, (label) => (label >= 0 ? 1 : 0)),
        [n, seq],
      ),
    ),
  };
}

/**
 * Mean of −log p(answer token | tokens before) over all answer tokens of a batch. The head runs where an answer's token is predicted alone: it is
 * the largest product of a small model. f32[]
 */
export function answerLossOf(
  on: Model,
  params: ParamTree,
  { tokens, mask, labels, scored }: Readonly<Record<string, Tensor>>,
  context: ForwardContext,
): Tensor {
  const hooks = [...(context.hooks ?? []), scoredHead(scored!, tokens!)];
  const { logits } = on.forward(params, { tokens: tokens!, mask: mask! }, { ...context, hooks });
  const targets = gather(reshape(labels!, [-1]), add(scored!, 1));
  return div(sum(crossEntropyPerItem(logits!, targets)), sum(cast(greaterEqual(targets, 0), "f32")));
}

/** Mean of −log p(answer token | tokens before) over all answer tokens. logits — f32[batch, prefix + seq, vocab]. f32[] */
export function answerLoss(logits: Tensor, labels: Tensor): Tensor {
  const { losses, counts } = answerLosses(logits, labels);
  return div(sum(losses), sum(counts));
}

/** The same over the answer tokens of each row. f32[batch] */
export function answerLossOfRows(logits: Tensor, labels: Tensor): Tensor {
  const { losses, counts } = answerLosses(logits, labels);
  return div(sum(losses, 1), sum(counts, 1));
}

function answerLosses(logits: Tensor, labels: Tensor): { readonly losses: Tensor; readonly counts: Tensor } {
  const seq = labels.dim(1);
  const ahead = slice(labels, 1, 1, dimSub(seq, 1));
  const own = slice(logits, 1, dimSub(logits.dim(1), seq), dimSub(seq, 1));
  return { losses: crossEntropyPerItem(own, ahead), counts: cast(greaterEqual(ahead, 0), "f32") };
}
