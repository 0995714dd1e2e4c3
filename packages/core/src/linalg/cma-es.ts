import { LfmError } from "../errors.js";
import { type SymmetricEigen, symmetricEigen } from "./eigen.js";
import { type CmaEsOptions, requireAsked } from "./elitist-cma-es.js";
import { dot, identity, row } from "./matrix.js";
import { orWorst, type Search, type SearchPoint } from "./search.js";

export interface PopulationCmaEsOptions extends CmaEsOptions {
  /** Points of a generation, at least 2. Default 4 + ⌊3·ln n⌋. */
  readonly population?: number;
}

/** Least variance of an axis, in units of the largest. */
const FLATTEST = 1e-16;

/**
 * The (μ/μ_w, λ)-CMA-ES with negative weights (N. Hansen, The CMA Evolution Strategy: A Tutorial, arXiv 1604.00772, figure 6 and table 1): λ
 * normal steps from a mean; the mean moves to the weighted best of them, and step length and covariance follow the paths that it takes and
 * the steps that were good or bad. For a few evaluations {@link elitistCmaEs} gets further. Points outside the bound are moved onto it, and
 * learned from where they then lie.
 * @throws {LfmError} CONFIG_INVALID for a population below 2
 */
export function cmaEs(options: PopulationCmaEsOptions): Search {
  const { rng, bound = Number.POSITIVE_INFINITY } = options;
  const n = options.start.length;
  const lambda = options.population ?? 4 + Math.floor(3 * Math.log(n));
  if (!Number.isInteger(lambda) || lambda < 2)
    throw new LfmError("CONFIG_INVALID", `[@lfm/core] cma-es: a population of ${lambda} is none: give 2 or more`);
  const r = rates(n, lambda);
  /** Mean length of a normal vector. */
  const usual = Math.sqrt(n) * (1 - 1 / (4 * n) + 1 / (21 * n * n));
  let mean = Float64Array.from(options.start);
  let { sigma } = options;
  let [path, sigmaPath] = [new Float64Array(n), new Float64Array(n)];
  const covariance = identity(n);
  let axes: SymmetricEigen = symmetricEigen(covariance);
  let best: SearchPoint = { x: [...options.start], value: Number.POSITIVE_INFINITY };
  let [generation, decomposed] = [0, 0];
  let asked: readonly (readonly number[])[] | undefined;

  /** The sum of the covariance's axes, each times a factor. */
  const alongAxes = (factor: (axis: Float64Array, deviation: number, k: number) => number): Float64Array => {
    const out = new Float64Array(n);
    for (let k = 0; k < n; k++) {
      const axis = row(axes.vectors, k);
      const f = factor(axis, Math.sqrt(Math.max(axes.values[k]!, FLATTEST * axes.values[0]!)), k);
      for (let i = 0; i < n; i++) out[i] = out[i]! + f * axis[i]!;
    }
    return out;
  };
  /** C^(−½)·y */
  const whitened = (y: Float64Array): Float64Array => alongAxes((axis, deviation) => dot(axis, y) / deviation);

  const draw = (): readonly number[] => {
    const z = Float64Array.from({ length: n }, () => rng.normal());
    const y = alongAxes((_axis, deviation, k) => deviation * z[k]!);
    return Array.from(mean, (m, i) => Math.min(bound, Math.max(-bound, m + sigma * y[i]!)));
  };

  const learn = (steps: readonly Float64Array[]): void => {
    const move = mean.map((_, i) => steps.reduce((s, y, k) => s + Math.max(0, r.weights[k]!) * y[i]!, 0));
    mean = mean.map((m, i) => m + sigma * move[i]!);
    const white = whitened(move);
    sigmaPath = sigmaPath.map((p, i) => (1 - r.sigmaPath) * p + Math.sqrt(r.sigmaPath * (2 - r.sigmaPath) * r.mass) * white[i]!);
    const length = Math.sqrt(dot(sigmaPath, sigmaPath));
    const settled = length / Math.sqrt(1 - (1 - r.sigmaPath) ** (2 * generation)) < (1.4 + 2 / (n + 1)) * usual;
    path = path.map((p, i) => (1 - r.path) * p + (settled ? Math.sqrt(r.path * (2 - r.path) * r.mass) * move[i]! : 0));
    const keep = 1 + (settled ? 0 : r.one * r.path * (2 - r.path)) - r.one - r.many * r.weights.reduce((s, w) => s + w, 0);
    for (let i = 0; i < covariance.data.length; i++) covariance.data[i] = keep * covariance.data[i]!;
    addOuter(covariance.data, path, r.one);
    for (const [k, y] of steps.entries()) {
      const w = r.weights[k]!;
      const inner = w < 0 ? whitened(y) : y;
      addOuter(covariance.data, y, r.many * (w < 0 ? (w * n) / Math.max(dot(inner, inner), Number.MIN_VALUE) : w));
    }
    sigma *= Math.exp(Math.min(1, (r.sigmaPath / r.damping) * (length / usual - 1)));
  };

  return {
    ask: () => {
      asked ??= Array.from({ length: lambda }, draw);
      return asked;
    },
    tell: (values) => {
      requireAsked(values, asked?.length ?? 0);
      const told = asked!.map((x, i) => ({ x, value: orWorst(values[i]!) })).sort((a, b) => a.value - b.value);
      asked = undefined;
      if (told[0]!.value < best.value) best = told[0]!;
      generation++;
      learn(told.map(({ x }) => mean.map((m, i) => (x[i]! - m) / sigma)));
      if (generation - decomposed < 1 / (10 * n * (r.one + r.many))) return;
      axes = symmetricEigen(covariance);
      decomposed = generation;
    },
    get best() {
      return best;
    },
  };
}

interface Rates {
  /** Of the steps, the best first; those that count sum to 1, the others are negative. */
  readonly weights: readonly number[];
  /** How many equal steps the positive weights are worth. */
  readonly mass: number;
  readonly sigmaPath: number;
  readonly damping: number;
  readonly path: number;
  /** Share of the covariance that comes from the path, and from the steps of a generation. */
  readonly one: number;
  readonly many: number;
}

/** Table 1 of the tutorial. */
function rates(n: number, lambda: number): Rates {
  const raw = Array.from({ length: lambda }, (_, i) => Math.log((lambda + 1) / 2) - Math.log(i + 1));
  const [good, bad] = [raw.slice(0, Math.floor(lambda / 2)), raw.slice(Math.floor(lambda / 2))];
  const sum = (w: readonly number[]): number => w.reduce((s, v) => s + v, 0);
  const massOf = (w: readonly number[]): number => sum(w) ** 2 / sum(w.map((v) => v * v));
  const mass = massOf(good);
  const sigmaPath = (mass + 2) / (n + mass + 5);
  const one = 2 / ((n + 1.3) ** 2 + mass);
  const many = Math.min(1 - one, (2 * (1 / 4 + mass + 1 / mass - 2)) / ((n + 2) ** 2 + mass));
  const negative = Math.min(1 + one / many, 1 + (2 * massOf(bad)) / (mass + 2), (1 - one - many) / (n * many));
  const [up, down] = [sum(raw.filter((w) => w > 0)), -sum(raw.filter((w) => w < 0))];
  return {
    weights: raw.map((w) => (w >= 0 ? w / up : (negative * w) / down)),
    mass,
    sigmaPath,
    damping: 1 + 2 * Math.max(0, Math.sqrt((mass - 1) / (n + 1)) - 1) + sigmaPath,
    path: (4 + mass / n) / (n + 4 + (2 * mass) / n),
    one,
    many,
  };
}

/** a += factor·xxᵀ */
function addOuter(a: Float64Array, x: Float64Array, factor: number): void {
  const n = x.length;
  for (let i = 0; i < n; i++) {
    const f = factor * x[i]!;
    for (let j = 0; j < n; j++) a[i * n + j] = a[i * n + j]! + f * x[j]!;
  }
}
