import { type TaskContext, throwIfAborted } from "@lfm/core";
import { mergeMethods } from "../methods/index.js";
import { sumOf } from "./in-memory.js";
import { noteDone } from "./journal.js";
import { kernels } from "./kernels.js";
import { isMerged, type MergeSetting, mergeTensor, surveyTensor, type TensorPlace } from "./merge-tensor.js";
import { nodeIo } from "./node-io.js";
import type { PlannedTensor } from "./plan.js";

/** For a thread that has other things to do as well: it takes tensors from the small end, while they are light. */
export interface Aside {
  /** Called between two tensors. */
  breathe(): Promise<void>;
  readonly isLight: (tensor: PlannedTensor) => boolean;
}

/** What the threads of one merge share. */
export interface MergeJob {
  readonly tensors: readonly PlannedTensor[];
  readonly places: readonly TensorPlace[];
  /** Indices of the tensors that are to be done, the largest first. */
  readonly order: readonly number[];
  readonly folder: string;
  readonly journal: string;
  /** Tensors are on the disk before the journal says so. */
  readonly sync: boolean;
  readonly seed: number;
  /** Bytes that this thread may use. */
  readonly memory: number;
  readonly totals: readonly Float64Array[];
  /** Another round over the whole model instead of the merge. */
  readonly survey: boolean;
  /** i32 [order]: 1 where a thread has taken the tensor. */
  readonly taken: SharedArrayBuffer;
  /** i64 [2]: bytes read, bytes written. */
  readonly moved: SharedArrayBuffer;
}

/** Takes tensors until none is left. @returns sums of this thread's tensors, empty where nothing is surveyed */
export async function mergeThread(job: MergeJob, { signal }: Pick<TaskContext, "signal">, aside?: Aside): Promise<Float64Array> {
  const taken = new Int32Array(job.taken);
  const moved = new BigInt64Array(job.moved);
  const io = nodeIo(job.folder);
  kernels().limit = job.memory;
  const parts: Float64Array[] = [];
  try {
    for (let i = 0; i < job.order.length; i++) {
      const at = aside ? job.order.length - 1 - i : i;
      const index = job.order[at]!;
      const tensor = job.tensors[index]!;
      if (aside && !aside.isLight(tensor)) break;
      if (Atomics.compareExchange(taken, at, 0, 1) !== 0) continue;
      await aside?.breathe();
      const setting: MergeSetting = {
        io,
        method: mergeMethods.find((m) => m.id === tensor.method)!.merging,
        seed: job.seed,
        totals: job.totals,
        moved: (read, written) => {
          throwIfAborted(signal, "[@lfm/reuse] the merge");
          if (read > 0) Atomics.add(moved, 0, BigInt(Math.round(read)));
          if (written > 0) Atomics.add(moved, 1, BigInt(written));
        },
      };
      if (!job.survey) {
        const place = job.places[index]!;
        mergeTensor(tensor, place, setting);
        // After a power cut the journal must not speak of what the disk never got.
        if (job.sync) io.writer(place.file).sync?.();
        noteDone(job.journal, index);
      } else if (isMerged(tensor) && (setting.method.survey?.rounds(tensor.parameters) ?? 0) > job.totals.length)
        parts.push(surveyTensor(tensor, setting));
    }
    return sumOf(parts);
  } finally {
    io.close();
  }
}
