import { join } from "node:path";
import { LfmError, throwIfAborted } from "@lfm/core";
import { type Passage, readDocuments } from "@lfm/data";
import { writeTextFile } from "@lfm/formats";
import { analyzerNamed, buildBm25, createFlatIndex, type FlatIndex, passageText } from "@lfm/retrieval";
import { type IndexManifest, indexFiles, openEncoder, placedName } from "../inputs/documents.js";
import { engineOf } from "../inputs/engine.js";

import { baseWish } from "../inputs/quantized.js";
import { withResult } from "../outputs/result-folder.js";
import type { JobContext, JobRequest, JobResult } from "../program/job.js";
import { formatBytes } from "../render/table.js";

export interface IndexRequest extends JobRequest {
  readonly documents: string;
  readonly kind: "bm25" | "flat";
  readonly model?: string;
  readonly k1?: number;
  readonly b?: number;
  readonly analyzer?: string;
  readonly out: string;
  readonly overwrite?: boolean;
}

/** `lfm index`: builds an index and keeps the documents beside it: one folder, that of before or the new one. */
export function indexDocuments(request: IndexRequest, job: JobContext): Promise<JobResult> {
  const { out, documents, model, overwrite = false } = request;
  const inputs = [documents, ...(model === undefined ? [] : [model])];
  return withResult(out, { overwrite, inputs }, async (output) => {
    const passages = readDocuments(documents);
    if (passages.length === 0) throw new LfmError("CONFIG_INVALID", `lfm: ${documents} holds no documents`);
    const started = performance.now();
    const index = await buildIndex(passages, request, job);
    const manifest: IndexManifest = {
      kind: request.kind,
      ...(model === undefined ? {} : { model: placedName(model) }),
      documents: passages.length,
    };
    await output.finish(async (folder) => {
      await index.save(join(folder, indexFiles.index));
      writeTextFile(join(folder, indexFiles.passages), passages.map((p) => `${JSON.stringify(p)}\n`).join(""));
      writeTextFile(join(folder, indexFiles.manifest), `${JSON.stringify(manifest, null, 2)}\n`);
    });
    const seconds = (performance.now() - started) / 1000;
    return {
      value: { ...manifest, bytes: index.bytes, seconds, out },
      text: `${request.kind} index of ${passages.length.toLocaleString("en")} documents (${formatBytes(index.bytes)}) in ${seconds.toFixed(1)} s: ${out}`,
    };
  });
}

async function buildIndex(
  passages: readonly Passage[],
  request: IndexRequest,
  job: JobContext,
): Promise<Pick<FlatIndex, "bytes"> & { save(path: string): Promise<void> }> {
  const { kind, model, k1, b, analyzer } = request;
  if (kind === "bm25")
    return buildBm25(passages, {
      ...(k1 === undefined ? {} : { k1 }),
      ...(b === undefined ? {} : { b }),
      ...(analyzer === undefined ? {} : { analyzer: analyzerNamed(analyzer) }),
    });
  if (model === undefined)
    throw new LfmError("CONFIG_INVALID", "lfm: a dense index needs an encoder", { hint: "--model sentence-transformers/all-MiniLM-L6-v2" });
  const encoder = await openEncoder(model, await engineOf(request), job, baseWish(request, "batches"));
  let index: FlatIndex | undefined;
  const batch = 256;
  for (let at = 0; at < passages.length; at += batch) {
    throwIfAborted(job.signal, "lfm: indexing");
    const part = passages.slice(at, at + batch);
    const vectors = await encoder.encode(part.map(passageText), { role: "document" });
    index ??= createFlatIndex(vectors.shape[1]!, { metric: encoder.metric });
    index.add(
      part.map((p) => p.id),
      vectors,
    );
    job.progress({ phase: "encode", done: Math.min(passages.length, at + batch), total: passages.length, unit: "document" });
  }
  await encoder.dispose();
  return index!;
}
