/** Minimisation without gradients, by asking and telling: who searches and who evaluates need not know each other. */
export interface Search {
  /** Points whose values are wanted next; the same ones until they are told. */
  ask(): readonly (readonly number[])[];
  /** Values of the points that were asked for, in their order; what is not finite counts as worse than everything. @throws {LfmError} SHAPE_MISMATCH */
  tell(values: readonly number[]): void;
  /** The best of all points so far; of value +∞ before the first is told. */
  readonly best: SearchPoint;
}

export interface SearchPoint {
  readonly x: readonly number[];
  readonly value: number;
}

export interface MinimiseOptions {
  /** Calls of the function. A population that would go beyond is evaluated in part. */
  readonly evaluations: number;
  /** Called after each evaluation. */
  readonly onEvaluation?: (done: number, best: number) => void | Promise<void>;
}

export interface Minimum extends SearchPoint {
  /** [evaluation, least value so far][] */
  readonly curve: readonly (readonly [number, number])[];
}

/** Evaluates a function, one point after another, where a search asks for it. */
export async function minimise(
  f: (x: readonly number[]) => number | Promise<number>,
  search: Search,
  { evaluations, onEvaluation }: MinimiseOptions,
): Promise<Minimum> {
  const curve: [number, number][] = [];
  while (curve.length < evaluations) {
    const points = search.ask();
    const values = points.map(() => Number.POSITIVE_INFINITY);
    let least = search.best.value;
    for (const [i, x] of points.entries()) {
      if (curve.length === evaluations) break;
      values[i] = orWorst(await f(x));
      least = Math.min(least, values[i]!);
      curve.push([curve.length, least]);
      await onEvaluation?.(curve.length, least);
    }
    search.tell(values);
  }
  return { ...search.best, curve };
}

export function orWorst(value: number): number {
  return Number.isFinite(value) ? value : Number.POSITIVE_INFINITY;
}
