/** A round of successive halving: so many candidates are trained for so many steps, the best of them go on. */
export interface Rung {
  readonly candidates: number;
  readonly steps: number;
}

/**
 * Successive halving (arXiv 1502.07943): each rung keeps the best of `eta` candidates and gives them `eta` times the steps; the last one has all
 * steps. Training starts anew on each rung, for schedules count all of their steps.
 * @param candidates in the first rung, ≥ 1
 * @param steps of the last rung
 * @param eta > 1
 */
export function rungsOf(candidates: number, steps: number, eta: number): readonly Rung[] {
  const rungs: Rung[] = [];
  for (let left = candidates; ; left = Math.ceil(left / eta)) {
    rungs.push({ candidates: left, steps });
    if (left === 1) break;
  }
  return rungs.map((rung, i) => ({ ...rung, steps: Math.max(1, Math.round(steps / eta ** (rungs.length - 1 - i))) }));
}
