/**
 * Measures of a run as trec_eval 9 takes them: documents are ordered by score (as f32), equal scores by id in descending byte order,
 * whatever the run's own order; an unjudged document counts as not relevant; gain is the grade itself, discount log2(rank + 1).
 */
import { LfmError } from "@lfm/core";
import type { Hit, Qrels, Run } from "@lfm/data";

export interface MeasureOptions {
  /**
   * Over which queries the mean goes: "found" (default; trec_eval, pytrec_eval): those in run and judgements;
   * "judged" (trec_eval -c): all with judgements, 0 where the run has none.
   */
  readonly queries?: "found" | "judged";
}

export interface Measured {
  readonly mean: number;
  readonly perQuery: ReadonlyMap<string, number>;
}

/**
 * One measure of a run.
 * @param measure "ndcg@10", "recall@100", "precision@5", "map", "mrr", "mrr@10", or as trec_eval writes them: "ndcg_cut_10", "P_5"
 * @throws {LfmError} CONFIG_INVALID for an unknown measure, a document that a query has twice, or when no query is judged
 */
export function measure(run: Run, qrels: Qrels, measure: string, options: MeasureOptions = {}): Measured {
  const { name, cut } = parse(measure);
  const ids = options.queries === "judged" ? Object.keys(qrels) : [...run.keys()].filter((id) => Object.hasOwn(qrels, id));
  if (ids.length === 0) throw new LfmError("CONFIG_INVALID", "[@lfm/retrieval] no query of the run has judgements");
  const perQuery = new Map<string, number>();
  for (const id of ids) {
    const grades = qrels[id]!;
    const ranked = order(id, run.get(id) ?? []).map((hit) => (Object.hasOwn(grades, hit.id) ? Math.max(0, grades[hit.id]!) : 0));
    perQuery.set(
      id,
      MEASURES[name](
        ranked,
        Object.values(grades).filter((grade) => grade > 0),
        cut,
      ),
    );
  }
  let sum = 0;
  for (const value of perQuery.values()) sum += value;
  return { mean: sum / perQuery.size, perQuery };
}

type Name = "ndcg" | "recall" | "precision" | "map" | "mrr";

/** grades of the found documents in order; grades of all relevant documents; cut-off (∞: none) → value */
const MEASURES: Readonly<Record<Name, (ranked: readonly number[], relevant: readonly number[], cut: number) => number>> = {
  ndcg: (ranked, relevant, cut) => {
    const ideal = discounted([...relevant].sort((a, b) => b - a).slice(0, cut));
    return ideal === 0 ? 0 : discounted(ranked.slice(0, cut)) / ideal;
  },
  recall: (ranked, relevant, cut) => (relevant.length === 0 ? 0 : found(ranked, cut) / relevant.length),
  precision: (ranked, _relevant, cut) =>
    Number.isFinite(cut) ? found(ranked, cut) / cut : found(ranked, cut) / Math.max(1, ranked.length),
  map: (ranked, relevant, cut) => {
    let hits = 0;
    let sum = 0;
    for (const [i, grade] of ranked.slice(0, cut).entries()) if (grade > 0) sum += ++hits / (i + 1);
    return relevant.length === 0 ? 0 : sum / relevant.length;
  },
  mrr: (ranked, _relevant, cut) => {
    const first = ranked.slice(0, cut).findIndex((grade) => grade > 0);
    return first < 0 ? 0 : 1 / (first + 1);
  },
};

function found(ranked: readonly number[], cut: number): number {
  return ranked.slice(0, cut).filter((grade) => grade > 0).length;
}

function discounted(grades: readonly number[]): number {
  return grades.reduce((sum, grade, i) => sum + grade / Math.log2(i + 2), 0);
}

function order(query: string, hits: readonly Hit[]): Hit[] {
  const ids = new Set<string>();
  for (const { id } of hits) {
    if (ids.has(id)) throw new LfmError("CONFIG_INVALID", `[@lfm/retrieval] the run has "${id}" twice for query "${query}"`);
    ids.add(id);
  }
  const rows = hits.map((hit) => ({ ...hit, score: Math.fround(hit.score) }));
  return rows.sort((a, b) => b.score - a.score || Buffer.compare(Buffer.from(b.id), Buffer.from(a.id)));
}

/** What trec_eval calls them. */
const TREC_NAMES: Readonly<Record<string, Name>> = { ndcg_cut: "ndcg", map_cut: "map", P: "precision", recip_rank: "mrr" };

function parse(measure: string): { name: Name; cut: number } {
  const ours = measure.replace(/^(ndcg_cut|map_cut|P|recip_rank)(?=_|$)/, (name) => TREC_NAMES[name]!).replace(/_(?=[1-9]\d*$)/, "@");
  const match = /^(ndcg|recall|precision|map|mrr)(?:@([1-9]\d*))?$/.exec(ours);
  if (!match) {
    throw new LfmError("CONFIG_INVALID", `[@lfm/retrieval] unknown measure "${measure}"`, {
      hint: "ndcg@10, recall@100, precision@5, map, mrr, or trec_eval's names",
    });
  }
  return { name: match[1] as Name, cut: match[2] === undefined ? Number.POSITIVE_INFINITY : Number(match[2]) };
}
