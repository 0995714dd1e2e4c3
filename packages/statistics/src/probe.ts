import {
  type HostTensor,
  LfmError,
  type MethodContext,
  type ModelInput,
  type Outputs,
  type Spec,
  sym,
  type Tensor,
  throwIfAborted,
} from "@lfm/core";

type Batch = Readonly<Record<string, Tensor>>;
export type HostBatch = Readonly<Record<string, HostTensor>>;

/** Batches of examples and how a model reads them. The first axis of every tensor of a batch counts examples. */
export interface Flow {
  readonly name: string;
  /** Types of a batch; symbolic dimensions allowed. */
  readonly batch: Readonly<Record<string, Spec>>;
  /** The batch of a step, a pure function of the step. */
  batches(step: number): HostBatch;
  input(batch: Batch): ModelInput;
  /** f32[batch, seq]: 1 for positions that hold a token. Default: the mask of the input, or all. */
  counted?(batch: Batch): Tensor;
}

/** A flow that ends. */
export interface Corpus extends Flow {
  /** Examples of all batches together. */
  readonly samples: number;
}

/** The answers of a model to a batch. */
export interface Answers {
  /** f32[batch, classes]; with {@link weights}, f32[rows, classes]: several rows for each example, as of a text's tokens. */
  readonly logits: Tensor;
  /** i32[batch] or i32[rows], where they are known. */
  readonly targets?: Tensor;
  /** f32[rows]: how much each row of the logits counts. */
  readonly weights?: Tensor;
}

/** Examples of one task and how a model answers them. What is right need not be known: every learning task over classes is a probe of itself. */
export interface TaskProbe extends Flow {
  scored(outputs: Outputs, batch: Batch): Answers;
}

/** Answers with logits f32[batch, classes]. @throws {LfmError} SHAPE_MISMATCH */
export function probeAnswers(probe: TaskProbe, outputs: Outputs, batch: Batch): Answers {
  const answers = probe.scored(outputs, batch);
  if (answers.logits.rank !== 2)
    throw new LfmError("SHAPE_MISMATCH", `[@lfm/statistics] logits of "${probe.name}" are ${answers.logits}, not f32[batch, classes]`);
  return answers;
}

export function batchSize(batch: HostBatch): number {
  return Object.values(batch)[0]!.shape[0]!;
}

/** Examples from..from+count of a batch. */
export function cutBatch(batch: HostBatch, from: number, count: number): HostBatch {
  if (from === 0 && count === batchSize(batch)) return batch;
  return Object.fromEntries(
    Object.entries(batch).map(([key, t]) => {
      const one = t.data.length / t.shape[0]!;
      return [key, { dtype: t.dtype, shape: [count, ...t.shape.slice(1)], data: t.data.slice(from * one, (from + count) * one) }];
    }),
  );
}

/** Token sequences at hand, so many at a time. tokens — i32[n, seq], mask — f32[n, seq] */
export function tokenCorpus(name: string, { tokens, mask }: Readonly<Record<"tokens" | "mask", HostTensor>>, rows = 64): Corpus {
  const shape = [sym("batch"), sym("seq")];
  const samples = tokens.shape[0]!;
  return {
    name,
    batch: { tokens: { dtype: "i32", shape }, mask: { dtype: "f32", shape } },
    batches: (step) => cutBatch({ tokens, mask }, step * rows, Math.min(rows, samples - step * rows)),
    input: (batch) => ({ tokens: batch.tokens!, mask: batch.mask! }),
    samples,
  };
}

/**
 * Calls `visit` on batches of together exactly `samples` examples, or until it says that it has seen enough; stops between two.
 * @param visit gets the batch, the examples and the batches up to and with it; @param from what was seen in a run before
 * @returns the examples that were seen
 * @throws {LfmError} ABORTED, CONFIG_INVALID for an empty batch
 */
export async function eachBatch(
  flow: Flow,
  samples: number,
  context: Pick<MethodContext, "signal" | "progress">,
  phase: string,
  visit: (batch: HostBatch, seen: number, steps: number) => Promise<"enough" | undefined>,
  from: { readonly step: number; readonly seen: number } = { step: 0, seen: 0 },
): Promise<number> {
  let { seen } = from;
  for (let { step } = from; seen < samples; step++) {
    throwIfAborted(context.signal, `[@lfm/statistics] ${phase}`);
    const whole = flow.batches(step);
    const size = batchSize(whole);
    if (size === 0) throw new LfmError("CONFIG_INVALID", `[@lfm/statistics] batch ${step} of "${flow.name}" holds no example`);
    const batch = cutBatch(whole, 0, Math.min(size, samples - seen));
    seen += batchSize(batch);
    const said = await visit(batch, seen, step + 1);
    context.progress({ phase, done: seen, total: samples, unit: "example" });
    if (said === "enough") break;
    await new Promise<void>((resolve) => setImmediate(resolve));
  }
  return seen;
}
