import { cholesky, type Rng } from "@lfm/core";

export interface EvolutionOptions {
  readonly start: readonly number[];
  /** Standard deviation of the first steps. */
  readonly sigma: number;
  /** Evaluations, that of the start included. */
  readonly evaluations: number;
  /** Every coordinate stays within ±bound. */
  readonly bound?: number;
  readonly rng: Rng;
  /** Called after each evaluation. */
  readonly onEvaluation?: (done: number, best: number) => void | Promise<void>;
}

export interface EvolutionResult {
  readonly x: readonly number[];
  readonly value: number;
  /** [evaluation, least value so far][] */
  readonly curve: readonly (readonly [number, number])[];
}

/** Share of successful steps that is aimed at, and above which the shape of the distribution is not learned from a step. */
const TARGET = 2 / 11;
const TOO_GOOD = 0.44;
const MEMORY = 1 / 12;

/**
 * Minimises a function without gradients by the (1+1)-CMA-ES (C. Igel, T. Suttorp, N. Hansen, GECCO 2006): one parent, one normal step; the
 * step length follows the share of successes, the covariance the path of successful steps. Values that are not finite count as failures.
 */
export async function evolve(f: (x: readonly number[]) => number | Promise<number>, options: EvolutionOptions): Promise<EvolutionResult> {
  const { rng, bound = Number.POSITIVE_INFINITY } = options;
  const n = options.start.length;
  const damping = 1 + n / 2;
  const [rate, covarianceRate] = [2 / (n + 2), 2 / (n * n + 6)];
  let x = [...options.start];
  let value = orWorst(await f(x));
  let sigma = options.sigma;
  let success = TARGET;
  let path = new Float64Array(n);
  const covariance = Float64Array.from({ length: n * n }, (_, i) => (i % (n + 1) === 0 ? 1 : 0));
  let factor = cholesky(covariance, 0);
  const curve: [number, number][] = [[0, value]];
  await options.onEvaluation?.(1, value);
  for (let done = 1; done < options.evaluations; done++) {
    const z = Float64Array.from({ length: n }, () => rng.normal());
    const step = z.map((_, i) => {
      let s = 0;
      for (let k = 0; k <= i; k++) s += factor[i * n + k]! * z[k]!;
      return s;
    });
    const next = x.map((v, i) => Math.min(bound, Math.max(-bound, v + sigma * step[i]!)));
    const found = orWorst(await f(next));
    const better = found <= value;
    success = (1 - MEMORY) * success + MEMORY * (better ? 1 : 0);
    sigma *= Math.exp((success - TARGET) / (1 - TARGET) / damping);
    if (better) {
      [x, value] = [next, found];
      const eager = success >= TOO_GOOD;
      path = path.map((p, i) => (1 - rate) * p + (eager ? 0 : Math.sqrt(rate * (2 - rate)) * step[i]!));
      const keep = 1 - covarianceRate + (eager ? covarianceRate * rate * (2 - rate) : 0);
      for (let i = 0; i < n; i++)
        for (let j = 0; j < n; j++) covariance[i * n + j] = keep * covariance[i * n + j]! + covarianceRate * path[i]! * path[j]!;
      factor = cholesky(covariance, 1e-10);
    }
    curve.push([done, value]);
    await options.onEvaluation?.(done + 1, value);
  }
  return { x, value, curve };
}

function orWorst(value: number): number {
  return Number.isFinite(value) ? value : Number.POSITIVE_INFINITY;
}
