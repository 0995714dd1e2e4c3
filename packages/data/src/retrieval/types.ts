/** Something that can be found. What is searched is `title text`, or the text alone where there is no title. */
export interface Passage {
  /** Unique in its collection. */
  readonly id: string;
  readonly title?: string;
  readonly text: string;
}

export interface Query {
  readonly id: string;
  readonly text: string;
}

export interface Hit {
  readonly id: string;
  /** Higher is better; comparable within one query of one index only. */
  readonly score: number;
}

/** What a system found: query id → hits, best first. */
export type Run = ReadonlyMap<string, readonly Hit[]>;

/** Judged relevance: query id → document id → grade; 0 is "judged, not relevant", a missing pair is unjudged. */
export type Qrels = Readonly<Record<string, Readonly<Record<string, number>>>>;
