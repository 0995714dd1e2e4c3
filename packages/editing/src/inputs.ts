import {
  cast,
  type Delta,
  dimSub,
  div,
  expandDims,
  f32,
  gatherElements,
  greaterEqual,
  type HostTensor,
  i32,
  logSoftmax,
  type Model,
  mul,
  neg,
  type Spec,
  slice,
  squeeze,
  sum,
  sym,
  type Tensor,
  where,
} from "@lfm/core";

/** One fact to write, tokenised. */
export interface EditRequest {
  /** Prompt tokens, the answer not included. */
  readonly prompt: readonly number[];
  /** Index in `prompt` of the subject's last token. */
  readonly subjectEnd: number;
  /** Tokens of the new answer. */
  readonly target: readonly number[];
}

export interface EditingInputs {
  readonly model: Model;
  readonly request: EditRequest;
  /** Token sequences to estimate the covariance of keys from, i32[n, seq], with mask f32[n, seq]. */
  readonly corpus?: { readonly tokens: HostTensor; readonly mask: HostTensor };
  /** Token sequences to put before the prompt while the value is optimised; the empty one is always used. */
  readonly prefixes?: readonly (readonly number[])[];
  readonly parent?: string;
}

export interface EditingOutput {
  /** The edit as an immutable patch: replaced weights; dropping it gives back the base bit for bit. */
  readonly delta: Delta;
  readonly model: Model;
  readonly curves: Readonly<Record<string, readonly (readonly [number, number])[]>>;
}

/** A padded batch of sequences with the answer tokens marked: labels are −100 elsewhere. */
export interface EditBatch {
  readonly tokens: HostTensor;
  readonly mask: HostTensor;
  /** i32[n, seq]: the token itself where it is part of the answer. */
  readonly labels: HostTensor;
  /** i32[n]: position of the subject's last token. */
  readonly subject: HostTensor;
}

export const editBatchSpec = {
  tokens: { dtype: "i32", shape: [sym("batch"), sym("seq")] },
  mask: { dtype: "f32", shape: [sym("batch"), sym("seq")] },
  labels: { dtype: "i32", shape: [sym("batch"), sym("seq")] },
  subject: { dtype: "i32", shape: [sym("batch")] },
} as const satisfies Record<string, Spec>;

/** The request behind every prefix, right-padded. */
export function editBatch(request: EditRequest, prefixes: readonly (readonly number[])[]): EditBatch {
  const rows = prefixes.map((p) => [...p, ...request.prompt, ...request.target]);
  const n = rows.length;
  const seq = Math.max(...rows.map((r) => r.length));
  const [tokens, mask, labels, subject] = [
    new Int32Array(n * seq),
    new Float32Array(n * seq),
    new Int32Array(n * seq).fill(-100),
    new Int32Array(n),
  ];
  rows.forEach((row, i) => {
    row.forEach((t, j) => {
      tokens[i * seq + j] = t;
      mask[i * seq + j] = 1;
      if (j >= row.length - request.target.length) labels[i * seq + j] = t;
    });
    subject[i] = prefixes[i]!.length + request.subjectEnd;
  });
  return { tokens: i32(tokens, [n, seq]), mask: f32(mask, [n, seq]), labels: i32(labels, [n, seq]), subject: i32(subject) };
}

/** Mean of −log p(answer token | tokens before) over all answer tokens. f32[] */
export function answerLoss(logits: Tensor, labels: Tensor): Tensor {
  const seq = labels.dim(1);
  const ahead = slice(labels, 1, 1, dimSub(seq, 1));
  const counted = cast(greaterEqual(ahead, 0), "f32");
  const safe = where(greaterEqual(ahead, 0), ahead, 0);
  const logp = squeeze(gatherElements(logSoftmax(slice(logits, 1, 0, dimSub(seq, 1))), expandDims(safe, -1)), -1);
  return div(neg(sum(mul(logp, counted))), sum(counted));
}
