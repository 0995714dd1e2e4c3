import { join } from "node:path";
import { type HostTensor, hostTensor, LfmError, throwIfAborted } from "@lfm/core";
import { type Passage, readDocuments } from "@lfm/data";
import { writeTextFile } from "@lfm/formats";
import { analyzerNamed, buildBm25, createVectorIndex, parseFactory, passageText, type VectorIndex } from "@lfm/retrieval";
import { type IndexManifest, indexFiles, openEncoder, placedName } from "../inputs/documents.js";
import { engineOf } from "../inputs/engine.js";

import { baseWish } from "../inputs/quantized.js";
import { withResult } from "../outputs/result-folder.js";
import type { JobContext, JobRequest, JobResult } from "../program/job.js";
import { formatBytes } from "../render/table.js";

/** The index over words. */
const BM25 = "bm25";

export interface IndexRequest extends JobRequest {
  readonly documents: string;
  /** "bm25", or a dense index as faiss writes it: Flat, HNSW32, "IVF64,PQ48". */
  readonly kind: string;
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
  const kind = request.kind === BM25 ? BM25 : parseFactory(request.kind).name;
  const inputs = [documents, ...(model === undefined ? [] : [model])];
  return withResult(out, { overwrite, inputs }, async (output) => {
    const passages = readDocuments(documents);
    if (passages.length === 0) throw new LfmError("CONFIG_INVALID", `lfm: ${documents} holds no documents`);
    const started = performance.now();
    const index = await buildIndex(passages, request, job);
    const manifest: IndexManifest = {
      kind,
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
      text: `${kind} index of ${passages.length.toLocaleString("en")} documents (${formatBytes(index.bytes)}) in ${seconds.toFixed(1)} s: ${out}`,
    };
  });
}

async function buildIndex(
  passages: readonly Passage[],
  request: IndexRequest,
  job: JobContext,
): Promise<Pick<VectorIndex, "bytes"> & { save(path: string): Promise<void> }> {
  const { kind, model, k1, b, analyzer } = request;
  if (kind === BM25)
    return buildBm25(passages, {
      ...(k1 === undefined ? {} : { k1 }),
      ...(b === undefined ? {} : { b }),
      ...(analyzer === undefined ? {} : { analyzer: analyzerNamed(analyzer) }),
    });
  if (model === undefined)
    throw new LfmError("CONFIG_INVALID", "lfm: a dense index needs an encoder", { hint: "--model sentence-transformers/all-MiniLM-L6-v2" });
  const encoder = await openEncoder(model, await engineOf(request), job, baseWish(request, "batches"));
  const index: VectorIndex = createVectorIndex(kind, encoder.dimension, { metric: encoder.metric });
  // What has to learn first is given all vectors at once.
  const waiting: HostTensor[] = [];
  const batch = 256;
  for (let at = 0; at < passages.length; at += batch) {
    throwIfAborted(job.signal, "lfm: indexing");
    const part = passages.slice(at, at + batch);
    const vectors = await encoder.encode(part.map(passageText), { role: "document" });
    if (index.trained)
      index.add(
        part.map((p) => p.id),
        vectors,
      );
    else waiting.push(vectors);
    job.progress({ phase: "encode", done: Math.min(passages.length, at + batch), total: passages.length, unit: "document" });
  }
  await encoder.dispose();
  if (waiting.length > 0) {
    const all = concatRows(waiting);
    index.train(all);
    index.add(
      passages.map((p) => p.id),
      all,
    );
  }
  return index;
}

function concatRows(parts: readonly HostTensor[]): HostTensor {
  const d = parts[0]!.shape[1]!;
  const out = new Float32Array(parts.reduce((n, { data }) => n + data.length, 0));
  let at = 0;
  for (const { data } of parts) {
    out.set(data as Float32Array, at);
    at += data.length;
  }
  return hostTensor("f32", [at / d, d], out);
}
