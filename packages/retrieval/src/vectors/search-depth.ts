/** How far an index that takes shortcuts looks. */
export interface SearchDepth {
  /** HNSW: rows kept in view, at least k; default 64. More finds more and takes longer. */
  readonly ef?: number;
  /** IVF: lists looked into; default 8. All of them is exact search. */
  readonly probes?: number;
  /** RFlat: so many times k rows are compared again by the vectors themselves; default 4. */
  readonly rescore?: number;
}
