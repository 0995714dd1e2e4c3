import { existsSync } from "node:fs";
import { join } from "node:path";
import { type HostTensor, hostTensor, LfmError, throwIfAborted } from "@lfm/core";
import { type Passage, readDocuments, readPassages } from "@lfm/data";
import { writeTextFile } from "@lfm/formats";
import {
  analyzerNamed,
  buildBm25,
  chunkPassages,
  createVectorIndex,
  loadVectorIndex,
  parseFactory,
  passageText,
  type VectorIndex,
} from "@lfm/retrieval";
import { type ChunkWish, chunkerOf, chunkRule } from "../inputs/chunks.js";
import { type IndexManifest, indexFiles, openEncoder, placedName, readIndexManifest } from "../inputs/documents.js";
import { engineOf } from "../inputs/engine.js";

import { baseWish } from "../inputs/quantized.js";
import { withResult } from "../outputs/result-folder.js";
import type { JobContext, JobRequest, JobResult } from "../program/job.js";
import { formatBytes } from "../render/table.js";

/** The index over words. */
const BM25 = "bm25";

export interface IndexRequest extends JobRequest, ChunkWish {
  readonly documents: string;
  /** "bm25", or a dense index as faiss writes it: Flat, HNSW32, "IVF64,PQ48". */
  readonly kind: string;
  readonly model?: string;
  readonly k1?: number;
  readonly b?: number;
  readonly analyzer?: string;
  readonly out: string;
  readonly overwrite?: boolean;
  /** Takes over from the index that is there what has not changed. */
  readonly update?: boolean;
}

/** `lfm index`: builds an index and keeps the documents beside it: one folder, that of before or the new one. */
export function indexDocuments(request: IndexRequest, job: JobContext): Promise<JobResult> {
  const { out, documents, model, overwrite = false, update = false } = request;
  const kind = request.kind === BM25 ? BM25 : parseFactory(request.kind).name;
  const chunks = chunkRule(request);
  const chunker = chunks && chunkerOf(chunks);
  const inputs = [documents, ...(model === undefined ? [] : [model])];
  return withResult(out, { overwrite: overwrite || update, inputs }, async (output) => {
    const read = readDocuments(documents);
    const passages = chunker ? chunkPassages(read, chunker) : read;
    if (passages.length === 0) throw new LfmError("CONFIG_INVALID", `lfm: ${documents} holds no documents`);
    const started = performance.now();
    const manifest: IndexManifest = {
      kind,
      ...(model === undefined ? {} : { model: placedName(model) }),
      ...(chunks === undefined ? {} : { chunks }),
      documents: passages.length,
    };
    const before = update && existsSync(join(out, indexFiles.manifest)) ? readIndexedPassages(out, manifest) : undefined;
    const change = changeOf(before ?? [], passages);
    const index =
      kind === BM25 ? buildWords(passages, request) : await buildDense(kind, before && join(out, indexFiles.index), change, request, job);
    await output.finish(async (folder) => {
      await index.save(join(folder, indexFiles.index));
      writeTextFile(join(folder, indexFiles.passages), passages.map((p) => `${JSON.stringify(p)}\n`).join(""));
      writeTextFile(join(folder, indexFiles.manifest), `${JSON.stringify(manifest, null, 2)}\n`);
    });
    const seconds = (performance.now() - started) / 1000;
    const counts = { added: change.fresh.length, removed: change.gone.length, kept: passages.length - change.fresh.length };
    return {
      value: { ...manifest, ...(before ? counts : {}), bytes: index.bytes, seconds, out },
      text: `${kind} index of ${passages.length.toLocaleString("en")} ${chunks ? "chunks" : "documents"} (${formatBytes(index.bytes)}) in ${seconds.toFixed(1)} s: ${out}${
        before ? `; ${counts.kept} as before, ${counts.added} new or changed, ${counts.removed} gone or changed` : ""
      }`,
    };
  });
}

/** The passages of an index that is to be brought up to date. @throws {LfmError} CONFIG_INVALID where it was made otherwise */
function readIndexedPassages(folder: string, wanted: IndexManifest): readonly Passage[] {
  const { kind, model, chunks } = readIndexManifest(folder);
  const same = (a: unknown, b: unknown): boolean => JSON.stringify(a) === JSON.stringify(b);
  if (
    !same(
      [kind, model, chunks && [chunks.kind, chunks.size, chunks.overlap]],
      [wanted.kind, wanted.model, wanted.chunks && [wanted.chunks.kind, wanted.chunks.size, wanted.chunks.overlap]],
    )
  )
    throw new LfmError("CONFIG_INVALID", `lfm: ${folder} was made with another kind, model or chunks: it cannot be brought up to date`, {
      hint: "give the options it was made with, or --overwrite instead of --update",
    });
  return readPassages(join(folder, indexFiles.passages));
}

interface Change {
  /** Passages that are not there yet, or were otherwise. */
  readonly fresh: readonly Passage[];
  /** Ids of those that are no more, or were otherwise. */
  readonly gone: readonly string[];
}

/** What has changed, by content. */
function changeOf(before: readonly Passage[], now: readonly Passage[]): Change {
  const contentOf = (p: Passage): string => JSON.stringify([p.title ?? null, p.text]);
  const old = new Map(before.map((p) => [p.id, contentOf(p)]));
  const same = new Set(now.filter((p) => old.get(p.id) === contentOf(p)).map((p) => p.id));
  return { fresh: now.filter((p) => !same.has(p.id)), gone: [...old.keys()].filter((id) => !same.has(id)) };
}

type Built = Pick<VectorIndex, "bytes"> & { save(path: string): Promise<void> };

function buildWords(passages: readonly Passage[], { k1, b, analyzer }: IndexRequest): Built {
  return buildBm25(passages, {
    positions: true,
    ...(k1 === undefined ? {} : { k1 }),
    ...(b === undefined ? {} : { b }),
    ...(analyzer === undefined ? {} : { analyzer: analyzerNamed(analyzer) }),
  });
}

/** @param before the file of the index that is brought up to date */
async function buildDense(
  kind: string,
  before: string | undefined,
  change: Change,
  request: IndexRequest,
  job: JobContext,
): Promise<Built> {
  const { model } = request;
  if (model === undefined)
    throw new LfmError("CONFIG_INVALID", "lfm: a dense index needs an encoder", { hint: "--model sentence-transformers/all-MiniLM-L6-v2" });
  const { fresh, gone } = change;
  const encoder = await openEncoder(model, await engineOf(request), job, baseWish(request, "batches"));
  const index = before === undefined ? createVectorIndex(kind, encoder.dimension, { metric: encoder.metric }) : loadVectorIndex(before);
  index.remove(gone);
  // What has to learn first is given all vectors at once.
  const waiting: HostTensor[] = [];
  const batch = 256;
  for (let at = 0; at < fresh.length; at += batch) {
    throwIfAborted(job.signal, "lfm: indexing");
    const part = fresh.slice(at, at + batch);
    const vectors = await encoder.encode(part.map(passageText), { role: "document" });
    if (index.trained)
      index.add(
        part.map((p) => p.id),
        vectors,
      );
    else waiting.push(vectors);
    job.progress({ phase: "encode", done: Math.min(fresh.length, at + batch), total: fresh.length, unit: "document" });
  }
  await encoder.dispose();
  if (waiting.length > 0) {
    const all = concatRows(waiting);
    index.train(all);
    index.add(
      fresh.map((p) => p.id),
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
