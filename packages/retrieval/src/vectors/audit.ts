import { type HostTensor, hostTensor, LfmError, type Rng } from "@lfm/core";
import type { Hit } from "@lfm/data";
import type { SearchDepth } from "./search-depth.js";

/** What finds the nearest vectors. */
interface Searched {
  search(queries: HostTensor, k: number, depth?: SearchDepth): Promise<Hit[][]>;
}

interface Audited extends Searched {
  readonly factory: string;
  readonly dimension: number;
  readonly ids: readonly string[];
  readonly bytes: number;
}

export interface AuditOptions {
  /** f32[queries, dimension]; default: some of the vectors themselves, each of which is then not counted among its own neighbours. */
  readonly queries?: HostTensor;
  /** How many vectors are asked for where there are no queries; default 200. */
  readonly sample?: number;
  /** Neighbours that count; default 10. */
  readonly k?: number;
  /** An exact index of the same vectors, for one that does not keep them itself. */
  readonly exact?: Searched;
  /** How it is searched: ef, probes, rescore. */
  readonly search?: SearchDepth;
  /** Milliseconds; default the machine's clock. */
  readonly now?: () => number;
}

/** What the shortcuts of an index cost and bring. */
export interface Audit {
  readonly k: number;
  readonly queries: number;
  /** Mean share of the k nearest that are found; one that is as near as the k-th counts as well, whichever it is. */
  readonly recall: number;
  /** Queries a second, one after the other. */
  readonly qps: number;
  readonly p95Ms: number;
  readonly bytes: number;
  readonly bytesPerVector: number;
}

/** The vectors that an index keeps. */
export interface KeptVectors {
  vectorOf(id: string): Float32Array;
  /** An exact index of all of them. */
  flat(): Searched;
}

/** Scores this near to the k-th are equal to it, relative: sums in f32 are taken in different orders. */
const EQUAL = 1e-5;

/**
 * Compares a search with exact search.
 * @param kept the vectors, where the index has them
 * @throws {LfmError} CONFIG_INVALID for an empty index, or where neither queries and an exact index nor vectors are at hand
 */
export async function auditIndex(index: Audited, kept: KeptVectors | undefined, rng: Rng, options: AuditOptions): Promise<Audit> {
  const { k = 10, sample = 200, search = {}, now = () => performance.now() } = options;
  const { ids, dimension } = index;
  if (ids.length === 0) throw new LfmError("CONFIG_INVALID", "[@lfm/retrieval] an index that holds nothing cannot be audited");
  if ((!options.exact || !options.queries) && !kept)
    throw new LfmError("CONFIG_INVALID", `[@lfm/retrieval] ${index.factory} does not keep the vectors: nothing to compare with`, {
      hint: `give queries and an exact index: index.audit({ queries, exact }), or build "${index.factory},RFlat"`,
    });
  const own = options.queries ? undefined : rng.sample(ids, Math.min(sample, ids.length));
  const queries =
    options.queries ??
    stack(
      own!.map((id) => kept!.vectorOf(id)),
      dimension,
    );
  const count = queries.shape[0]!;
  const extra = own ? 1 : 0;
  const exact = options.exact ?? kept!.flat();
  let right = 0;
  let wanted = 0;
  const times: number[] = [];
  for (let q = 0; q < count; q++) {
    const query = hostTensor("f32", [1, dimension], (queries.data as Float32Array).slice(q * dimension, (q + 1) * dimension));
    const started = now();
    const [found] = await index.search(query, k + extra, search);
    times.push(now() - started);
    const others = (hit: { readonly id: string }): boolean => hit.id !== own?.[q];
    const near = (await exact.search(query, 4 * k + extra))[0]!.filter(others);
    const last = near[Math.min(k, near.length) - 1];
    if (!last) continue;
    const least = last.score - EQUAL * Math.max(1, Math.abs(last.score));
    const good = new Set(near.filter((hit) => hit.score >= least).map((hit) => hit.id));
    const most = Math.min(k, near.length);
    wanted += most;
    right += Math.min(
      most,
      found!
        .filter(others)
        .slice(0, k)
        .filter((hit) => good.has(hit.id)).length,
    );
  }
  const total = times.reduce((a, b) => a + b, 0);
  times.sort((a, b) => a - b);
  return {
    k,
    queries: count,
    recall: wanted === 0 ? 1 : right / wanted,
    qps: total > 0 ? (1000 * count) / total : 0,
    p95Ms: times[Math.min(count - 1, Math.floor(0.95 * count))] ?? 0,
    bytes: index.bytes,
    bytesPerVector: index.bytes / ids.length,
  };
}

function stack(rows: readonly Float32Array[], d: number): HostTensor {
  const out = new Float32Array(rows.length * d);
  rows.forEach((row, i) => {
    out.set(row, i * d);
  });
  return hostTensor("f32", [rows.length, d], out);
}
