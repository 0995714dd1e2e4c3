/** Suites whose results are published in docs/results. */
export const suites = [
  "standard",
  "tuning-tradeoff",
  "reuse",
  "real",
  "real-merging",
  "editing",
  "editing-claims",
  "rag-scale",
  "retrieval-quality",
] as const;

/** Mean of a metric over the seeds of a cell `task/method/variant`; "kept" and "trained" are retention and trained parameters. Throws where there is none. */
export type Measure = (cell: string, metric: string) => number;

/** Something that was to be shown: what is measured for it, and whether that suffices. */
export interface Claim {
  readonly paradigm: "tuning" | "distillation" | "reuse" | "meta" | "editing" | "retrieval";
  readonly suite: (typeof suites)[number];
  readonly what: string;
  judge(value: Measure): { readonly text: string; readonly reached: boolean };
}

export const percent = (x: number): string => `${(100 * x).toFixed(1)} %`;
export const number = (x: number): string => String(Number(x.toPrecision(4)));
