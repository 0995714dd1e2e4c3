import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { LfmError } from "@lfm/core";
import type { Hit, Passage } from "@lfm/data";
import { createEncoder } from "@lfm/models";
import { loadBm25, loadFlat, reciprocalRankFusion } from "@lfm/retrieval";
import { engineOf, requireTokenizer, resolveModel } from "../inputs/models.js";
import type { JobContext, JobRequest, JobResult } from "../program/job.js";
import { type IndexManifest, indexFiles } from "./index-documents.js";

export interface SearchRequest extends JobRequest {
  readonly index: string;
  readonly query: string;
  readonly top: number;
  readonly and?: string;
}

/** Hits behind the first that fusion still looks at. */
const FUSION_DEPTH = 1000;

/** `lfm search`: the best documents for a query, with their text. */
export async function search(request: SearchRequest, job: JobContext): Promise<JobResult> {
  const fused = request.and !== undefined;
  const first = await searchOne(request, request.index, fused ? FUSION_DEPTH : request.top, job);
  const hits = fused ? fuse(first, await searchOne(request, request.and!, FUSION_DEPTH, job)).slice(0, request.top) : first;
  const passages = new Map(
    readFileSync(join(request.index, indexFiles.passages), "utf8")
      .split("\n")
      .filter(Boolean)
      .map((line) => JSON.parse(line) as Passage)
      .map((p) => [p.id, p]),
  );
  const rows = hits.map((h) => ({ ...h, ...passages.get(h.id) }));
  return {
    value: { query: request.query, hits: rows },
    text:
      rows.length === 0
        ? "nothing found"
        : rows
            .map((r, i) => `${i + 1}. ${r.id}  ${r.score.toFixed(4)}  ${shorten([r.title, r.text].filter(Boolean).join(": "))}`)
            .join("\n"),
  };
}

function fuse(a: readonly Hit[], b: readonly Hit[]): readonly Hit[] {
  return reciprocalRankFusion([new Map([["q", a]]), new Map([["q", b]])]).get("q") ?? [];
}

async function searchOne(request: SearchRequest, folder: string, k: number, job: JobContext): Promise<readonly Hit[]> {
  const path = join(folder, indexFiles.manifest);
  if (!existsSync(path))
    throw new LfmError("FILE_IO", `lfm: ${folder} is no index`, { hint: "lfm index documents.jsonl --out FOLDER makes one" });
  const manifest = JSON.parse(readFileSync(path, "utf8")) as IndexManifest;
  const file = join(folder, indexFiles.index);
  if (manifest.kind === "bm25") return loadBm25(file).search(request.query, k);
  const m = await resolveModel(manifest.model!, [], job);
  const encoder = await createEncoder(await engineOf(request), m.model, requireTokenizer(m), { normalize: true });
  const [hits] = await loadFlat(file).search(await encoder.encode([request.query]), k);
  await encoder.dispose();
  return hits!;
}

function shorten(text: string): string {
  const line = text.replace(/\s+/g, " ").trim();
  return line.length > 160 ? `${line.slice(0, 159)}…` : line;
}
