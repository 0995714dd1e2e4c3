import { type Compiled, compile, type HostTensor, LfmError, type MethodContext, type Model, type Spec, type Tensor } from "@lfm/core";
import type { Batch, BatchSpec, LearningTask } from "@lfm/train";
import { type LogitCachePlace, openLogitCache } from "./logit-cache.js";
import { type KnownRows, knownRows } from "./row-keys.js";

/** Under which name a batch brings its teacher's answers. */
export const TOLD = "told";

/** Batches that bring the teacher's answers. */
export interface KeptAnswers {
  /** Type of the answers, f32[positions that count, classes], under {@link TOLD}. */
  readonly spec: BatchSpec;
  /** A batch with its answers: those that are kept, and those that the teacher gives now. */
  withAnswers(batch: Batch): Promise<Batch>;
  dispose(): Promise<void>;
}

type Answer = Compiled<BatchSpec, { readonly logits: Tensor }>;

/**
 * A teacher whose answers are kept on disk: it is asked about a row once, however often the row comes, in whatever batch. The teacher's session
 * is opened when it is first asked.
 * @throws {LfmError} FILE_FORMAT, FILE_IO; CONFIG_INVALID for a task that scores neither rows nor positions
 */
export async function keptAnswers(
  place: LogitCachePlace,
  { teacher, task }: { readonly teacher: Model; readonly task: LearningTask },
  { engine }: Pick<MethodContext, "engine">,
): Promise<KeptAnswers> {
  const cache = openLogitCache(place, teacher.info.config);
  let asking: Promise<Answer> | undefined;
  const ask = async (batch: Batch): Promise<HostTensor> => {
    asking ??= compile(
      engine,
      task.batch,
      (b: Batch<Tensor>, { t }) => {
        const outputs = teacher.forward(t, task.input(b), { mode: "eval", hooks: [...(task.hooks?.(b) ?? [])], batch: b });
        return { logits: task.scored(outputs, b).logits };
      },
      { frozen: { t: teacher.params } },
    );
    return (await (await asking)(batch)).logits;
  };
  const dispose = async (): Promise<void> => {
    cache.close();
    await (await asking)?.dispose();
  };
  const fill = async (batch: Batch, { keys, answers }: KnownRows): Promise<void> => {
    if (keys.every((key) => cache.has(key))) return;
    const logits = await ask(batch);
    const [positions, classes] = logits.shape as readonly [number, number];
    if (logits.shape.length !== 2 || positions !== answers.reduce((a, n) => a + n, 0))
      throw new LfmError("CONFIG_INVALID", `[@lfm/distillation] answers of shape [${logits.shape}] are not kept by row`, {
        hint: "leave the cache out",
      });
    let at = 0;
    for (const [r, key] of keys.entries()) {
      const end = at + answers[r]!;
      if (!cache.has(key))
        cache.put(key, { dtype: "f32", shape: [answers[r]!, classes], data: logits.data.subarray(at * classes, end * classes) });
      at = end;
    }
  };
  try {
    if (cache.classes === undefined) {
      const first = task.batches(0);
      await fill(first, knownRows(task.batch, first));
    }
    const rows = (task.batch.scored ?? Object.values(task.batch)[0]!).shape[0]!;
    return {
      spec: { [TOLD]: { dtype: "f32", shape: [rows, cache.classes!] } satisfies Spec },
      withAnswers: async (batch) => {
        const rows = knownRows(task.batch, batch);
        await fill(batch, rows);
        return { ...batch, [TOLD]: joined(rows.keys.map((key) => cache.get(key))) };
      },
      dispose,
    };
  } catch (error) {
    await dispose();
    throw error;
  }
}

function joined(rows: readonly HostTensor[]): HostTensor {
  const classes = rows[0]!.shape[1]!;
  const positions = rows.reduce((n, { shape }) => n + shape[0]!, 0);
  const data = new Float32Array(positions * classes);
  let at = 0;
  for (const row of rows) {
    data.set(row.data as Float32Array, at);
    at += row.data.length;
  }
  return { dtype: "f32", shape: [positions, classes], data };
}
