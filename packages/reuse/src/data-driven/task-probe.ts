import { type HostTensor, LfmError, type MethodContext, type Outputs, type Tensor, throwIfAborted } from "@lfm/core";
import type { LearningTask } from "@lfm/train";

type Batch = Readonly<Record<string, Tensor>>;
export type HostBatch = Readonly<Record<string, HostTensor>>;

/**
 * Examples of one task and how a model answers them. Labels are not needed; the first axis of every tensor of a batch counts examples.
 * A {@link LearningTask} that says where its logits stand is one: `{ ...task, logits }`.
 */
export interface TaskProbe extends Pick<LearningTask, "name" | "batch" | "batches" | "input"> {
  /** f32[batch, classes]; with {@link weights}, f32[rows, classes]: several rows for each example, as of a text's tokens. */
  logits(outputs: Outputs, batch: Batch): Tensor;
  /** i32[batch] or i32[rows], where they are known. */
  labels?(batch: Batch): Tensor;
  /** f32[rows]: how much each row of the logits counts. */
  weights?(batch: Batch): Tensor;
  /** f32[batch, seq]: 1 for positions that hold a token. Default: the mask of the input, or all. */
  counted?(batch: Batch): Tensor;
}

/** Logits f32[batch, classes] of a model. @throws {LfmError} SHAPE_MISMATCH */
export function probeLogits(probe: TaskProbe, outputs: Outputs, batch: Batch): Tensor {
  const logits = probe.logits(outputs, batch);
  if (logits.rank !== 2)
    throw new LfmError("SHAPE_MISMATCH", `[@lfm/reuse] logits of "${probe.name}" are ${logits}, not f32[batch, classes]`);
  return logits;
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

/** Calls `visit` on batches of together exactly `samples` examples; stops between two. @throws {LfmError} ABORTED, CONFIG_INVALID for an empty batch */
export async function eachBatch(
  probe: TaskProbe,
  samples: number,
  context: Pick<MethodContext, "signal" | "progress">,
  phase: string,
  visit: (batch: HostBatch) => Promise<void>,
): Promise<void> {
  let seen = 0;
  for (let step = 0; seen < samples; step++) {
    throwIfAborted(context.signal, `[@lfm/reuse] ${phase}`);
    const whole = probe.batches(step);
    const size = batchSize(whole);
    if (size === 0) throw new LfmError("CONFIG_INVALID", `[@lfm/reuse] batch ${step} of "${probe.name}" holds no example`);
    const batch = cutBatch(whole, 0, Math.min(size, samples - seen));
    await visit(batch);
    seen += batchSize(batch);
    context.progress({ phase, done: seen, total: samples, unit: "example" });
    await new Promise<void>((resolve) => setImmediate(resolve));
  }
}

/** The models of a merge with the probes of their tasks, one each. @throws {LfmError} CONFIG_INVALID */
export function probesOf(models: Readonly<Record<string, unknown>>, tasks: Readonly<Record<string, TaskProbe>>): readonly TaskProbe[] {
  return Object.keys(models).map((name) => {
    const probe = tasks[name];
    if (!probe)
      throw new LfmError("CONFIG_INVALID", `[@lfm/reuse] no examples for "${name}": this method reads data of every model's task`, {
        hint: `there are examples of ${Object.keys(tasks).join(", ") || "nothing"}`,
      });
    return probe;
  });
}
