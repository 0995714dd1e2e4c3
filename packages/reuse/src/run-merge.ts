import { availableParallelism } from "node:os";
import { bytesPerElement, checkThreads, LfmError, type Progress, runTask, sizeOf, throwIfAborted } from "@lfm/core";
import { type FileLayout, layoutFile, layoutShards, SHARD_INDEX, type TensorType, takeFinished } from "@lfm/formats";
import { sumOf } from "./merging/in-memory.js";
import { type MergePlaceOptions, openMergeFolder } from "./merging/merge-folder.js";
import { mergeIdentity } from "./merging/merge-identity.js";
import type { MergeMethod } from "./merging/merge-method.js";
import { type Aside, type MergeJob, mergeThread } from "./merging/merge-thread.js";
import type { MergePlan, PlannedTensor } from "./merging/plan.js";
import { mergeMethods } from "./methods/index.js";

export interface RunMergeOptions extends MergePlaceOptions {
  /** Default: as many as there are processors; merges of less than 64 MB take one. */
  readonly threads?: number;
  /** Bytes that the process may use, from 192 MiB; default 1 GiB. Most methods need far less. */
  readonly maxMemory?: number;
  /** Bytes of a file of the output; default 5e9. */
  readonly maxShardBytes?: number;
  readonly signal?: AbortSignal;
  readonly progress?: (progress: Progress) => void;
}

export interface MergeReport {
  readonly files: readonly string[];
  readonly parameters: number;
  readonly bytesRead: number;
  readonly bytesWritten: number;
  readonly seconds: number;
  readonly threads: number;
  /** Bytes of buffers that each thread may take. */
  readonly memoryPerThread: number;
  /** Tensors that an earlier run had finished. */
  readonly resumed: number;
}

export interface MergeResources {
  readonly threads: number;
  readonly memoryPerThread: number;
}

const MIB = 2 ** 20;
const LEAST_MEMORY = 192 * MIB;
/** What the process and each of its threads take besides buffers. */
const PROCESS_BYTES = 96 * MIB;
const THREAD_BYTES = 40 * MIB;
/** Bytes below which starting threads takes longer than merging. */
const SMALL = 64e6;
/** Bytes of a tensor that are merged in a few hundredths of a second: the thread that draws progress and hears Ctrl-C may take it. */
const LIGHT = 64e6;

/** How a merge would share the machine. @throws {LfmError} CONFIG_INVALID; BUDGET_EXCEEDED where what a method must hold does not fit */
export function mergeResources(plan: MergePlan, options: Pick<RunMergeOptions, "threads" | "maxMemory">): MergeResources {
  const { maxMemory = 1024 * MIB } = options;
  const wanted = checkThreads(options.threads);
  if (!Number.isSafeInteger(maxMemory))
    throw new LfmError("CONFIG_INVALID", `[@lfm/reuse] ${maxMemory} is no number of bytes to merge in`, { hint: "--max-memory 1GiB" });
  if (maxMemory < LEAST_MEMORY)
    throw new LfmError("CONFIG_INVALID", `[@lfm/reuse] ${Math.floor(maxMemory / MIB)} MiB are too little to merge in`, {
      hint: `--max-memory ${LEAST_MEMORY / MIB}MiB or more`,
    });
  const aside = plan.tensors.reduce((n, t) => Math.max(n, held(t)), 0);
  const least = PROCESS_BYTES + 2 * THREAD_BYTES + aside;
  if (aside > 0 && maxMemory < least)
    throw new LfmError(
      "BUDGET_EXCEEDED",
      `[@lfm/reuse] ${Math.floor(maxMemory / MIB)} MiB do not hold the Gram matrices of the widest layer`,
      {
        hint: `--max-memory ${Math.ceil(least / MIB)}MiB`,
      },
    );
  const total = plan.tensors.reduce((n, t) => n + cost(t), 0);
  const most = Math.max(1, Math.floor((maxMemory - PROCESS_BYTES) / (2 * THREAD_BYTES + aside)));
  const threads = Math.min(wanted ?? (total < SMALL ? 1 : availableParallelism()), most, Math.max(1, plan.tensors.length));
  return { threads, memoryPerThread: Math.floor((maxMemory - PROCESS_BYTES) / threads - THREAD_BYTES - aside) };
}

/**
 * Merges files into files by a plan: tensor by tensor, chunk by chunk, on several threads that write at their places. The same plan and seed
 * give the same bytes on any number of threads.
 * @throws {LfmError} FILE_IO, FILE_FORMAT (NaN in an input), BUDGET_EXCEEDED, PARENT_MISMATCH (resuming another merge), ABORTED; `out` is then
 *   as it was, and what is finished waits in `out`.partial for `resume`
 */
export async function runMerge(plan: MergePlan, options: RunMergeOptions): Promise<MergeReport> {
  const started = performance.now();
  const { threads, memoryPerThread } = mergeResources(plan, options);
  const { files, index, layouts } = layOut(plan, options.maxShardBytes);
  const fileOf = new Map([...files].flatMap(([file, tensors]) => Object.keys(tensors).map((name) => [name, file])));
  const { of = JSON.stringify([mergeIdentity(plan, layouts), plan.texts, plan.copies]) } = options;
  const report = {
    files: [...files.keys()],
    parameters: plan.tensors.reduce((n, t) => n + sizeOf(t.shape), 0),
    threads,
    memoryPerThread,
  };
  const secondsSince = (from: number): number => (performance.now() - from) / 1000;
  if (options.resume && takeFinished(options.out, of, options.settle))
    return { ...report, bytesRead: 0, bytesWritten: 0, seconds: secondsSince(started), resumed: plan.tensors.length };
  const output = openMergeFolder(plan, layouts, { ...options, of });
  try {
    const left = plan.tensors.map((_, i) => i).filter((i) => !output.done.has(i));
    const job = {
      tensors: plan.tensors,
      places: plan.tensors.map(({ name }) => ({ file: fileOf.get(name)!, position: layouts.get(fileOf.get(name)!)!.positions.get(name)! })),
      order: left.sort((a, b) => cost(plan.tensors[b]!) - cost(plan.tensors[a]!) || a - b),
      folder: output.folder,
      journal: output.journal,
      sync: options.sync ?? false,
      seed: plan.seed,
      memory: memoryPerThread,
      moved: new SharedArrayBuffer(16),
    };
    const counters = new BigInt64Array(job.moved);
    const watch = watchProgress(plan, left, counters, options);
    try {
      const totals: Float64Array[] = [];
      const everything = { ...job, order: plan.tensors.map((_, i) => i) };
      for (let round = rounds(plan); round > 0; round--)
        totals.push(sumOf(await runThreads({ ...everything, totals: [...totals], survey: true }, threads, options.signal)));
      await runThreads({ ...job, totals, survey: false }, threads, options.signal);
    } finally {
      watch.stop();
    }
    throwIfAborted(options.signal, "[@lfm/reuse] the merge");
    output.finish(index === undefined ? plan.texts : { ...plan.texts, [SHARD_INDEX]: index }, plan.copies);
    return {
      ...report,
      bytesRead: Number(counters[0]),
      bytesWritten: Number(counters[1]),
      seconds: secondsSince(started),
      resumed: output.done.size,
    };
  } finally {
    output.close();
  }
}

/**
 * Tells merges apart: the same text means that {@link runMerge} would give the same files, as far as sizes and times of the inputs say so.
 * @throws {LfmError} FILE_IO where an input cannot be read
 */
export function identifyMerge(plan: MergePlan, maxShardBytes?: number): string {
  return JSON.stringify(mergeIdentity(plan, layOut(plan, maxShardBytes).layouts, "whole"));
}

function layOut(
  plan: MergePlan,
  maxShardBytes: number | undefined,
): ReturnType<typeof layoutShards> & { readonly layouts: ReadonlyMap<string, FileLayout> } {
  const types: Record<string, TensorType> = Object.fromEntries(plan.tensors.map(({ name, dtype, shape }) => [name, { dtype, shape }]));
  const shards = layoutShards(types, maxShardBytes);
  return { ...shards, layouts: new Map([...shards.files].map(([file, tensors]) => [file, layoutFile(tensors, { format: "pt" })])) };
}

/** Light tensors are merged here, others in workers; when one thread fails the others are asked to stop. */
async function runThreads(job: Omit<MergeJob, "taken">, threads: number, signal: AbortSignal | undefined): Promise<Float64Array[]> {
  const all = { ...job, taken: new SharedArrayBuffer(4 * job.order.length) };
  const controller = new AbortController();
  const stop = (): void => controller.abort(signal?.reason);
  signal?.addEventListener("abort", stop);
  try {
    const aside: Aside = {
      breathe: () => new Promise((resolve) => setImmediate(resolve)),
      // What is held is also computed with: a regression takes its time.
      isLight: (tensor) => cost(tensor) < LIGHT && held(tensor) === 0,
    };
    const alone = threads === 1 && job.order.every((i) => aside.isLight(job.tensors[i]!));
    const entry = new URL("./merge-worker.js", import.meta.url);
    // This thread is one of them: it merges while the others are still starting. It begins after them, for it does not look up before it must.
    const workers = alone ? 0 : Math.max(1, threads - 1);
    const work = Array.from({ length: workers }, () => runTask<Float64Array>(entry, all, { signal: controller.signal }));
    if (alone || threads > 1) work.push(mergeThread(all, { signal: alone && signal ? signal : controller.signal }, aside));
    for (const thread of work) thread.catch(stop);
    const outcomes = await Promise.allSettled(work);
    const failed = outcomes.filter((o) => o.status === "rejected").map((o) => o.reason as unknown);
    // The others were only stopped.
    const cause = failed.find((e) => !(e instanceof LfmError && e.code === "ABORTED")) ?? failed[0];
    if (cause !== undefined) throw cause;
    return outcomes.map((o) => (o as PromiseFulfilledResult<Float64Array>).value).filter((part) => part.length > 0);
  } finally {
    signal?.removeEventListener("abort", stop);
  }
}

function rounds(plan: MergePlan): number {
  return Math.max(0, ...plan.tensors.map((t) => mergingOf(t)?.survey?.rounds(t.parameters) ?? 0));
}

function mergingOf({ method }: PlannedTensor): MergeMethod["merging"] | undefined {
  return mergeMethods.find((m) => m.id === method)?.merging;
}

/** Bytes that a thread takes beside its chunks. */
function held(tensor: PlannedTensor): number {
  return mergingOf(tensor)?.held?.(tensor) ?? 0;
}

/** Bytes that one pass over a tensor moves. */
function cost({ shape, dtype, models, base }: PlannedTensor): number {
  const inputs = [...models, ...(base ? [base] : [])];
  const width = inputs.reduce(
    (n, { source }) => n + (source.kind === "stored" ? bytesPerElement[source.dtype] : 4),
    bytesPerElement[dtype],
  );
  return (
    sizeOf(shape) * width +
    models.reduce(
      (n, { statistics }) => n + (statistics ? bytesPerElement[statistics.source.dtype] * sizeOf(statistics.source.shape) : 0),
      0,
    )
  );
}

/** Reports bytes written of all, with the rate at which bytes are moved, while threads work. */
function watchProgress(
  plan: MergePlan,
  left: readonly number[],
  counters: BigInt64Array,
  { progress }: RunMergeOptions,
): { readonly stop: () => void } {
  if (!progress) return { stop: () => {} };
  const megabytes = (bytes: number): number => Math.round(bytes / 1e5) / 10;
  const total = megabytes(left.reduce((n, i) => n + sizeOf(plan.tensors[i]!.shape) * bytesPerElement[plan.tensors[i]!.dtype], 0));
  const started = performance.now();
  const say = (): void => {
    const [read, written] = [0, 1].map((i) => Number(Atomics.load(counters, i))) as [number, number];
    const seconds = Math.max(1e-3, (performance.now() - started) / 1000);
    progress({
      phase: "merge",
      done: Math.min(megabytes(written), total),
      total,
      unit: "MB",
      values: { "moved MB/s": megabytes((read + written) / seconds) },
    });
  };
  const timer = setInterval(say, 100);
  return {
    stop: () => {
      clearInterval(timer);
      say();
    },
  };
}
