import { existsSync, mkdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { LfmError } from "@lfm/core";
import { isBeirFolder, type Passage, readBeir, readExamples } from "@lfm/data";
import { createEncoder } from "@lfm/models";
import { buildBm25, createFlatIndex, passageText } from "@lfm/retrieval";
import { engineOf, requireTokenizer, resolveModel } from "../inputs/models.js";
import type { JobContext, JobRequest, JobResult } from "../program/job.js";
import { formatBytes } from "../render/table.js";

export interface IndexRequest extends JobRequest {
  readonly documents: string;
  readonly kind: "bm25" | "flat";
  readonly model?: string;
  readonly k1?: number;
  readonly b?: number;
  readonly out: string;
}

/** What stands beside an index so that it can be searched again. */
export interface IndexManifest {
  readonly kind: "bm25" | "flat";
  /** The encoder of a dense index. */
  readonly model?: string;
  readonly documents: number;
}

export const indexFiles = { manifest: "index.json", index: "index.safetensors", passages: "passages.jsonl" } as const;

/** `lfm index`: builds an index and keeps the documents beside it. */
export async function indexDocuments(request: IndexRequest, job: JobContext): Promise<JobResult> {
  const passages = await readPassages(request.documents);
  const started = performance.now();
  mkdirSync(request.out, { recursive: true });
  const path = join(request.out, indexFiles.index);
  let bytes: number;
  if (request.kind === "bm25") {
    const index = buildBm25(passages, {
      ...(request.k1 === undefined ? {} : { k1: request.k1 }),
      ...(request.b === undefined ? {} : { b: request.b }),
    });
    await index.save(path);
    bytes = index.bytes;
  } else {
    if (request.model === undefined)
      throw new LfmError("CONFIG_INVALID", "lfm: a dense index needs an encoder", {
        hint: "--model sentence-transformers/all-MiniLM-L6-v2",
      });
    const m = await resolveModel(request.model, [], job);
    const encoder = await createEncoder(await engineOf(request), m.model, requireTokenizer(m), { normalize: true });
    const index = createFlatIndex(m.model.info.hiddenSize);
    const batch = 256;
    for (let at = 0; at < passages.length; at += batch) {
      if (job.signal?.aborted) throw new LfmError("ABORTED", "lfm: indexing was stopped; no index was written");
      const part = passages.slice(at, at + batch);
      index.add(
        part.map((p) => p.id),
        await encoder.encode(part.map(passageText)),
      );
      job.progress({ phase: "encode", done: Math.min(passages.length, at + batch), total: passages.length, unit: "document" });
    }
    await encoder.dispose();
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

async function readPassages(path: string): Promise<Passage[]> {
  if (!existsSync(path)) throw new LfmError("FILE_IO", `lfm: there is no ${path}`);
  if (statSync(path).isDirectory()) {
    if (!isBeirFolder(path)) throw new LfmError("FILE_FORMAT", `lfm: ${path} is no BEIR folder (corpus.jsonl, queries.jsonl, qrels/)`);
    return [...readBeir(path).documents];
  }
  if (/\.jsonl$/i.test(path)) {
    return readFileSync(path, "utf8")
      .split("\n")
      .flatMap((line, i) => (line.trim() === "" ? [] : [passageOf(path, i + 1, line)]));
  }
  const examples = readExamples(path);
  if (examples.kind === "completion") throw new LfmError("FILE_FORMAT", `lfm: ${path} has prompts and completions, not documents`);
  return examples.rows.map((r, i) => ({ id: String(i + 1), text: r.text }));
}

function passageOf(path: string, line: number, text: string): Passage {
  let raw: unknown;
  try {
    raw = JSON.parse(text);
  } catch (cause) {
    throw new LfmError("FILE_FORMAT", `lfm: ${path}:${line} is not JSON`, { cause });
  }
  const { _id, id = _id, title, text: body } = raw as Readonly<Record<string, unknown>>;
  if (typeof body !== "string") throw new LfmError("FILE_FORMAT", `lfm: ${path}:${line} has no text`);
  return { id: id === undefined ? String(line) : String(id), text: body, ...(typeof title === "string" && title !== "" ? { title } : {}) };
}
