import { LfmError } from "../errors.js";
import type { Rng } from "../rng.js";
import { cholesky } from "./cholesky.js";
import { orWorst, type Search, type SearchPoint } from "./search.js";

export interface CmaEsOptions {
  /** Where the search begins. */
  readonly start: readonly number[];
  /** Standard deviation of the first steps, in every coordinate. */
  readonly sigma: number;
  /** Every coordinate stays within ±bound. Default: none. */
  readonly bound?: number;
  readonly rng: Rng;
}

/** Share of successful steps that is aimed at, and above which the shape of the distribution is not learned from a step. */
const TARGET = 2 / 11;
const TOO_GOOD = 0.44;
const MEMORY = 1 / 12;

/**
 * The (1+1)-CMA-ES (C. Igel, T. Suttorp, N. Hansen, GECCO 2006), for few evaluations: one parent, one normal step; the step length follows the
 * share of successes, the covariance the path of successful steps. The first point is the start.
 */
export function elitistCmaEs({ start, sigma, bound = Number.POSITIVE_INFINITY, rng }: CmaEsOptions): Search {
  const n = start.length;
  const damping = 1 + n / 2;
  const [rate, covarianceRate] = [2 / (n + 2), 2 / (n * n + 6)];
  let best: SearchPoint = { x: [...start], value: Number.POSITIVE_INFINITY };
  let length = sigma;
  let success = TARGET;
  let path = new Float64Array(n);
  const covariance = Float64Array.from({ length: n * n }, (_, i) => (i % (n + 1) === 0 ? 1 : 0));
  let factor = cholesky(covariance, 0);
  let step: Float64Array | undefined;
  let asked: readonly (readonly number[])[] | undefined = [best.x];

  const move = (): number[] => {
    const z = Float64Array.from({ length: n }, () => rng.normal());
    const taken = z.map((_, i) => {
      let s = 0;
      for (let k = 0; k <= i; k++) s += factor[i * n + k]! * z[k]!;
      return s;
    });
    step = taken;
    return best.x.map((v, i) => Math.min(bound, Math.max(-bound, v + length * taken[i]!)));
  };

  const learn = (taken: Float64Array): void => {
    const eager = success >= TOO_GOOD;
    path = path.map((p, i) => (1 - rate) * p + (eager ? 0 : Math.sqrt(rate * (2 - rate)) * taken[i]!));
    const keep = 1 - covarianceRate + (eager ? covarianceRate * rate * (2 - rate) : 0);
    for (let i = 0; i < n; i++)
      for (let j = 0; j < n; j++) covariance[i * n + j] = keep * covariance[i * n + j]! + covarianceRate * path[i]! * path[j]!;
    factor = cholesky(covariance, 1e-10);
  };

  return {
    ask: () => {
      asked ??= [move()];
      return asked;
    },
    tell: (values) => {
      requireAsked(values, asked?.length ?? 0);
      const [x, value] = [asked![0]!, orWorst(values[0]!)];
      const better = value <= best.value;
      if (better) best = { x, value };
      asked = undefined;
      if (!step) return;
      success = (1 - MEMORY) * success + MEMORY * (better ? 1 : 0);
      length *= Math.exp((success - TARGET) / (1 - TARGET) / damping);
      if (better) learn(step);
    },
    get best() {
      return best;
    },
  };
}

/** @throws {LfmError} SHAPE_MISMATCH unless there is one value for each point that was asked for */
export function requireAsked(values: readonly number[], asked: number): void {
  if (values.length === asked && asked > 0) return;
  throw new LfmError("SHAPE_MISMATCH", `[@lfm/core] a search is told ${values.length} values for ${asked} points that it asked for`, {
    hint: "search.tell(search.ask().map(f))",
  });
}
