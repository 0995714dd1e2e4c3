import { bootstrapError, mean, meanError } from "./uncertain.js";

/** How values are told. */
export interface ValueScores {
  /** Mean squared error. */
  readonly mse: number;
  /** Pearson's correlation; 0 where one side never changes. */
  readonly pearson: number;
  /** Spearman's rank correlation; equal values share their mean rank. */
  readonly spearman: number;
}

/** @returns the scores, and the standard error of each */
export function scoreValues(
  right: ArrayLike<number>,
  given: ArrayLike<number>,
): { readonly scores: ValueScores; readonly errors: ValueScores } {
  const squares = Float64Array.from({ length: right.length }, (_, i) => (given[i]! - right[i]!) ** 2);
  const at = (values: ArrayLike<number>, drawn: Int32Array): Float64Array => Float64Array.from(drawn, (i) => values[i]!);
  return {
    scores: { mse: mean(squares), pearson: pearson(right, given), spearman: spearman(right, given) },
    errors: {
      mse: meanError(squares),
      pearson: bootstrapError(right.length, (drawn) => pearson(at(right, drawn), at(given, drawn))),
      spearman: bootstrapError(right.length, (drawn) => spearman(at(right, drawn), at(given, drawn))),
    },
  };
}

function pearson(a: ArrayLike<number>, b: ArrayLike<number>): number {
  const [ma, mb] = [mean(a), mean(b)];
  let [ab, aa, bb] = [0, 0, 0];
  for (let i = 0; i < a.length; i++) {
    const [x, y] = [a[i]! - ma, b[i]! - mb];
    ab += x * y;
    aa += x * x;
    bb += y * y;
  }
  return aa === 0 || bb === 0 ? 0 : ab / Math.sqrt(aa * bb);
}

function spearman(a: ArrayLike<number>, b: ArrayLike<number>): number {
  return pearson(ranks(a), ranks(b));
}

function ranks(values: ArrayLike<number>): Float64Array {
  const order = Uint32Array.from({ length: values.length }, (_, i) => i).sort((i, j) => values[i]! - values[j]!);
  const found = new Float64Array(values.length);
  for (let from = 0; from < order.length; ) {
    let to = from + 1;
    while (to < order.length && values[order[to]!] === values[order[from]!]) to++;
    for (let k = from; k < to; k++) found[order[k]!] = (from + to - 1) / 2;
    from = to;
  }
  return found;
}
