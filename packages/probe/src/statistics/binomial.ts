/** A share that was measured, with the interval that it lies in by the exact law of counts. */
export interface Share {
  /** hits / of, 0..1. */
  readonly value: number;
  /** Limits of the two-sided interval, 0..1. */
  readonly low: number;
  readonly high: number;
  readonly hits: number;
  /** Trials. */
  readonly of: number;
}

/**
 * Clopper–Pearson (Biometrika 26, 1934): the limits p at which as many hits or more, or as few or fewer, have probability (1 − confidence) / 2. They
 * are quantiles of Beta(k, n − k + 1) and Beta(k + 1, n − k); the interval covers the true share at least as often as it says, at any n.
 * @param hits, of — counts, 0 ≤ hits ≤ of; nothing of nothing gives [0, 1]
 */
export function shareOf(hits: number, of: number, confidence = 0.95): Share {
  const tail = (1 - confidence) / 2;
  return {
    value: of === 0 ? 0 : hits / of,
    low: hits === 0 ? 0 : betaQuantile(tail, hits, of - hits + 1),
    high: hits === of ? 1 : betaQuantile(1 - tail, hits + 1, of - hits),
    hits,
    of,
  };
}

/** x with I_x(a, b) = p, by bisection: the distribution function is monotone, and 60 halvings leave less than 1e-18. */
function betaQuantile(p: number, a: number, b: number): number {
  let [low, high] = [0, 1];
  for (let i = 0; i < 60; i++) {
    const middle = (low + high) / 2;
    if (incompleteBeta(middle, a, b) < p) low = middle;
    else high = middle;
  }
  return (low + high) / 2;
}

/**
 * The regularised incomplete beta function I_x(a, b), the distribution function of Beta(a, b), by its continued fraction (Numerical Recipes 6.4).
 * @param x 0..1; @param a, b > 0
 */
export function incompleteBeta(x: number, a: number, b: number): number {
  if (x <= 0) return 0;
  if (x >= 1) return 1;
  // The fraction converges fast below the mean; above it the symmetric one does.
  if (x > (a + 1) / (a + b + 2)) return 1 - incompleteBeta(1 - x, b, a);
  const front = Math.exp(logGamma(a + b) - logGamma(a) - logGamma(b) + a * Math.log(x) + b * Math.log1p(-x)) / a;
  return front * betaFraction(x, a, b);
}

/** Lentz's evaluation of the continued fraction. */
function betaFraction(x: number, a: number, b: number): number {
  const tiny = 1e-300;
  const whole = (value: number): number => (Math.abs(value) < tiny ? tiny : value);
  let c = 1;
  let d = 1 / whole(1 - ((a + b) * x) / (a + 1));
  let value = d;
  for (let m = 1; m <= 10_000; m++) {
    const even = (m * (b - m) * x) / ((a + 2 * m - 1) * (a + 2 * m));
    d = 1 / whole(1 + even * d);
    c = whole(1 + even / c);
    value *= d * c;
    const odd = (-(a + m) * (a + b + m) * x) / ((a + 2 * m) * (a + 2 * m + 1));
    d = 1 / whole(1 + odd * d);
    c = whole(1 + odd / c);
    const factor = d * c;
    value *= factor;
    if (Math.abs(factor - 1) < 1e-15) break;
  }
  return value;
}

const LANCZOS = [
  676.5203681218851, -1259.1392167224028, 771.32342877765313, -176.61502916214059, 12.507343278686905, -0.13857109526572012,
  9.9843695780195716e-6, 1.5056327351493116e-7,
];

/** ln Γ(x) of x > 0, by Lanczos' approximation with g = 7: to 15 digits. */
function logGamma(x: number): number {
  if (x < 0.5) return Math.log(Math.PI / Math.sin(Math.PI * x)) - logGamma(1 - x);
  const z = x - 1;
  const series = LANCZOS.reduce((sum, c, i) => sum + c / (z + i + 1), 0.99999999999980993);
  const t = z + 7.5;
  return 0.5 * Math.log(2 * Math.PI) + (z + 0.5) * Math.log(t) - t + Math.log(series);
}
