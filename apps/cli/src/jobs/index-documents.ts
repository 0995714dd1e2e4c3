import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { LfmError } from "@lfm/core";
import { readDocuments } from "@lfm/data";
import { analyzerNamed, buildBm25, createFlatIndex, type FlatIndex, passageText } from "@lfm/retrieval";
import { type IndexManifest, indexFiles, openEncoder } from "../inputs/documents.js";
import { engineOf } from "../inputs/models.js";
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
}

/** `lfm index`: builds an index and keeps the documents beside it. */
export async function indexDocuments(request: IndexRequest, job: JobContext): Promise<JobResult> {
  const passages = readDocuments(request.documents);
  const started = performance.now();
  mkdirSync(request.out, { recursive: true });
  const path = join(request.out, indexFiles.index);
  let bytes: number;
  if (request.kind === "bm25") {
    const index = buildBm25(passages, {
      ...(request.k1 === undefined ? {} : { k1: request.k1 }),
      ...(request.b === undefined ? {} : { b: request.b }),
      ...(request.analyzer === undefined ? {} : { analyzer: analyzerNamed(request.analyzer) }),
    });
    await index.save(path);
    bytes = index.bytes;
  } else {
    if (request.model === undefined)
      throw new LfmError("CONFIG_INVALID", "lfm: a dense index needs an encoder", {
        hint: "--model sentence-transformers/all-MiniLM-L6-v2",
      });
    const encoder = await openEncoder(request.model, await engineOf(request), job);
    let index: FlatIndex | undefined;
    const batch = 256;
    for (let at = 0; at < passages.length; at += batch) {
      if (job.signal?.aborted) throw new LfmError("ABORTED", "lfm: indexing was stopped; no index was written");
      const part = passages.slice(at, at + batch);
      const vectors = await encoder.encode(part.map(passageText));
      index ??= createFlatIndex(vectors.shape[1]!);
      index.add(
        part.map((p) => p.id),
        vectors,
      );
      job.progress({ phase: "encode", done: Math.min(passages.length, at + batch), total: passages.length, unit: "document" });
    }
    await encoder.dispose();
    if (!index) throw new LfmError("CONFIG_INVALID", `lfm: ${request.documents} holds no documents`);
    await index.save(path);
    bytes = index.bytes;
  }
  writeFileSync(join(request.out, indexFiles.passages), passages.map((p) => `${JSON.stringify(p)}\n`).join(""));
  const manifest: IndexManifest = {
    kind: request.kind,
    ...(request.model === undefined ? {} : { model: request.model }),
    documents: passages.length,
  };
  writeFileSync(join(request.out, indexFiles.manifest), `${JSON.stringify(manifest, null, 2)}\n`);
  const seconds = (performance.now() - started) / 1000;
  return {
    value: { ...manifest, bytes, seconds, out: request.out },
    text: `${request.kind} index of ${passages.length.toLocaleString("en")} documents (${formatBytes(bytes)}) in ${seconds.toFixed(1)} s: ${request.out}`,
  };
}
