import type { Hit } from "@lfm/data";
import { reciprocalRankFusion } from "@lfm/retrieval";
import { openIndex } from "../inputs/documents.js";
import { engineOf } from "../inputs/models.js";
import type { JobContext, JobRequest, JobResult } from "../program/job.js";

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
  const engine = await engineOf(request);
  const find = async (folder: string, k: number): Promise<readonly Hit[]> =>
    (await (await openIndex(folder, engine, job)).search([request.query], k))[0]!;
  const { index, and, top } = request;
  const hits =
    and === undefined ? await find(index, top) : fuse(await find(index, FUSION_DEPTH), await find(and, FUSION_DEPTH)).slice(0, top);
  const passages = new Map((await openIndex(index, engine, job)).passages.map((p) => [p.id, p]));
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

function shorten(text: string): string {
  const line = text.replace(/\s+/g, " ").trim();
  return line.length > 160 ? `${line.slice(0, 159)}…` : line;
}
