import { LfmError } from "../errors.js";

export interface Assignment {
  /** i32[rows]: the column of each row; all different. */
  readonly columns: Int32Array;
  /** Sum of the chosen entries. */
  readonly value: number;
}

export interface AssignmentOptions {
  /** Default false: the cheapest assignment. */
  readonly maximize?: boolean;
}

/**
 * The linear assignment problem, solved exactly: one column for each row, no column twice, so that the sum of entries is least (or largest).
 * Shortest augmenting paths with dual prices (Jonker & Volgenant 1987; the rectangular form of Crouse 2016) in f64; O(rows²·columns).
 * @param scores f64[rows, columns], row-major, finite; rows ≤ columns
 * @throws {LfmError} SHAPE_MISMATCH, NUMERIC_DIVERGED for an entry that is not finite
 */
export function solveAssignment(scores: Float64Array, rows: number, columns: number, options: AssignmentOptions = {}): Assignment {
  if (rows > columns || scores.length !== rows * columns)
    throw new LfmError(
      "SHAPE_MISMATCH",
      `[@lfm/core] assignment: ${scores.length} entries for [${rows}, ${columns}]; rows must not exceed columns`,
    );
  const sign = options.maximize ? -1 : 1;
  for (let k = 0; k < scores.length; k++)
    if (!Number.isFinite(scores[k]))
      throw new LfmError("NUMERIC_DIVERGED", `[@lfm/core] assignment: entry [${Math.floor(k / columns)}, ${k % columns}] is ${scores[k]}`);
  const rowPrice = new Float64Array(rows);
  const columnPrice = new Float64Array(columns);
  const rowOf = new Int32Array(columns).fill(-1);
  const columnOf = new Int32Array(rows).fill(-1);
  const distance = new Float64Array(columns);
  const cameFrom = new Int32Array(columns);
  /** Columns not reached yet, as a shrinking list. */
  const open = new Int32Array(columns);
  const reached = new Int32Array(columns);
  for (let start = 0; start < rows; start++) {
    distance.fill(Number.POSITIVE_INFINITY);
    for (let j = 0; j < columns; j++) open[j] = columns - 1 - j;
    let left = columns;
    let done = 0;
    let row = start;
    let shortest = 0;
    let end = -1;
    while (end < 0) {
      const base = row * columns;
      const price = shortest - rowPrice[row]!;
      let next = -1;
      let least = Number.POSITIVE_INFINITY;
      for (let at = 0; at < left; at++) {
        const j = open[at]!;
        const through = price + sign * scores[base + j]! - columnPrice[j]!;
        if (through < distance[j]!) {
          distance[j] = through;
          cameFrom[j] = row;
        }
        // Among equals a free column ends the search at once.
        if (distance[j]! < least || (distance[j] === least && rowOf[j] === -1)) {
          least = distance[j]!;
          next = at;
        }
      }
      shortest = least;
      const column = open[next]!;
      open[next] = open[--left]!;
      reached[done++] = column;
      if (rowOf[column] === -1) end = column;
      else row = rowOf[column]!;
    }
    rowPrice[start]! += shortest;
    for (let at = 0; at < done - 1; at++) {
      const j = reached[at]!;
      const slack = shortest - distance[j]!;
      rowPrice[rowOf[j]!]! += slack;
      columnPrice[j]! -= slack;
    }
    for (let column = end; ; ) {
      const from = cameFrom[column]!;
      rowOf[column] = from;
      const freed = columnOf[from]!;
      columnOf[from] = column;
      if (from === start) break;
      column = freed;
    }
  }
  let value = 0;
  for (let i = 0; i < rows; i++) value += scores[i * columns + columnOf[i]!]!;
  return { columns: columnOf, value };
}
