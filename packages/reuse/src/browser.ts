/**
 * Merging in a browser, inside a dedicated worker: the same methods, kernels and layout as on Node. Inputs are `File`s or other blobs, the
 * result goes into handles of the origin's private file system (or anything that writes at a position).
 */
import { LfmError, sizeOf } from "@lfm/core";
import { layoutFile } from "@lfm/formats";
import type { ByteReader, ByteWriter, MergeIo } from "./merging/io.js";
import { kernels } from "./merging/kernels.js";
import { mergeTensor } from "./merging/merge-tensor.js";
import type { MergePlan } from "./merging/plan.js";
import { mergeMethods } from "./methods/index.js";

export type { MergePlan, PlannedTensor, StoredTensor } from "./merging/plan.js";

/** What is used of a blob; types of browsers are not those of Node. */
export interface BlobLike {
  readonly size: number;
  slice(start: number, end: number): BlobLike;
}

/** A `FileSystemSyncAccessHandle`. */
export interface SyncHandle {
  write(data: Uint8Array, options: { readonly at: number }): number;
  flush(): void;
}

export interface BrowserMergeOptions {
  /** Blobs by the names under which the plan's sources name their files. */
  readonly files: Readonly<Record<string, BlobLike>>;
  /** Where `model.safetensors` goes. */
  readonly output: SyncHandle;
  /** Bytes that buffers may take; default 256 MiB. */
  readonly memory?: number;
  readonly progress?: (done: number, total: number) => void;
}

interface SyncFileReader {
  readAsArrayBuffer(blob: BlobLike): ArrayBuffer;
}

/**
 * Merges by a plan into one file. Methods that look at the whole model first (TIES as in its paper) are not offered here.
 * @throws {LfmError} BACKEND_UNAVAILABLE outside a worker, FILE_IO, FILE_FORMAT, BUDGET_EXCEEDED, OP_UNSUPPORTED
 */
export function mergeInBrowser(plan: MergePlan, options: BrowserMergeOptions): { readonly bytes: number; readonly parameters: number } {
  const { files, output, memory = 256 * 2 ** 20, progress } = options;
  const Reader = (globalThis as { readonly FileReaderSync?: new () => SyncFileReader }).FileReaderSync;
  if (!Reader)
    throw new LfmError("BACKEND_UNAVAILABLE", "[@lfm/reuse] a merge reads files synchronously: run it in a dedicated worker", {
      hint: 'new Worker(new URL("./merge-worker.js", import.meta.url), { type: "module" })',
    });
  const layout = layoutFile(Object.fromEntries(plan.tensors.map(({ name, dtype, shape }) => [name, { dtype, shape }])), { format: "pt" });
  const io = browserIo(files, output, new Reader());
  io.writer("").write(layout.head, 0);
  kernels().limit = memory;
  for (const [done, tensor] of plan.tensors.entries()) {
    const method = mergeMethods.find((m) => m.id === tensor.method)!.merging;
    if ((method.survey?.rounds(tensor.parameters) ?? 0) > 0)
      throw new LfmError("OP_UNSUPPORTED", `[@lfm/reuse] ${tensor.method}: rounds over the whole model are not offered in a browser`);
    const setting = { io, method, seed: plan.seed, totals: [], moved: () => {} };
    mergeTensor(tensor, { file: "", position: layout.positions.get(tensor.name)! }, setting);
    progress?.(done + 1, plan.tensors.length);
  }
  output.flush();
  return { bytes: layout.size, parameters: plan.tensors.reduce((n, t) => n + sizeOf(t.shape), 0) };
}

function browserIo(files: Readonly<Record<string, BlobLike>>, output: SyncHandle, sync: SyncFileReader): MergeIo {
  const reader = (file: string): ByteReader => {
    const blob = files[file];
    if (!blob) throw new LfmError("FILE_IO", `[@lfm/reuse] the plan reads "${file}", which was not given`);
    return {
      read: (into, position) => {
        if (position + into.length > blob.size)
          throw new LfmError("FILE_IO", `[@lfm/reuse] "${file}" ends at byte ${blob.size}: it changed since the plan was made`);
        into.set(new Uint8Array(sync.readAsArrayBuffer(blob.slice(position, position + into.length))));
      },
    };
  };
  const writer: ByteWriter = {
    write: (from, position) => {
      // A handle may refuse shared or growing memory: it gets a copy.
      const written = output.write(from.slice(), { at: position });
      if (written !== from.length)
        throw new LfmError("FILE_IO", `[@lfm/reuse] only ${written} of ${from.length} bytes were written: is the quota used up?`);
    },
  };
  return { reader, writer: () => writer, close: () => {} };
}
