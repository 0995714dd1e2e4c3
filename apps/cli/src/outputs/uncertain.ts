import { Rng } from "@lfm/core";

/** Times that rows are drawn anew. */
const DRAWS = 200;

/**
 * Standard error of a figure that is no mean (F1, a rank correlation): its spread over rows drawn with replacement (Efron 1979), always by the same
 * draws.
 * @param rows how many there are
 * @param figure of the rows of these numbers
 */
export function bootstrapError(rows: number, figure: (drawn: Int32Array) => number): number {
  const rng = new Rng(0).split("bootstrap");
  const drawn = new Int32Array(rows);
  const values = Array.from({ length: DRAWS }, () => {
    for (let i = 0; i < rows; i++) drawn[i] = rng.int(rows);
    return figure(drawn);
  });
  return spread(values);
}

/** Standard error of the mean of values; 0 for a single one. */
export function meanError(values: ArrayLike<number>): number {
  return values.length < 2 ? 0 : spread(values) / Math.sqrt(values.length);
}

export function mean(values: ArrayLike<number>): number {
  let sum = 0;
  for (let i = 0; i < values.length; i++) sum += values[i]!;
  return sum / values.length;
}

/** Standard deviation with n − 1 below. */
function spread(values: ArrayLike<number>): number {
  const m = mean(values);
  let sum = 0;
  for (let i = 0; i < values.length; i++) sum += (values[i]! - m) ** 2;
  return Math.sqrt(sum / (values.length - 1));
}
