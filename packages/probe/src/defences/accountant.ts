/**
 * What differentially private training costs: Rényi differential privacy of the sampled Gaussian mechanism (Mironov et al., arXiv 1908.10530), turned
 * into (ε, δ) by theorem 21 of Balle et al. (arXiv 1905.09982). It holds where every step takes each example with the same probability, on its own
 * (Poisson sampling), clips each example's gradient to a norm C, and adds N(0, (σC)²) to their sum.
 */
import { LfmError, type Rng } from "@lfm/core";

/** Steps of one kind. */
export interface PrivateSteps {
  /** Probability q that a step takes an example, 0..1. */
  readonly sampleRate: number;
  /** Standard deviation of the noise over the norm that gradients are clipped to, σ. */
  readonly noiseMultiplier: number;
  readonly steps: number;
}

/** Opacus' default orders α: 1.1, 1.2, …, 10.9, 12, …, 63. */
export const defaultOrders: readonly number[] = [
  ...Array.from({ length: 99 }, (_, i) => 1 + (i + 1) / 10),
  ...Array.from({ length: 52 }, (_, i) => 12 + i),
];

/** A promise of (ε, δ)-differential privacy. */
export interface PrivacySpent {
  readonly epsilon: number;
  readonly delta: number;
  /** The order α that gives it. At either end of the orders others would promise more. */
  readonly order: number;
}

/**
 * The privacy that training has spent.
 * @param training steps of one kind, or of several one after another
 * @param delta δ, below one over the number of examples
 * @throws {LfmError} CONFIG_INVALID for numbers outside their ranges
 */
export function privacySpent(training: PrivateSteps | readonly PrivateSteps[], delta: number, orders = defaultOrders): PrivacySpent {
  if (!(delta > 0 && delta < 1)) throw new LfmError("CONFIG_INVALID", `[@lfm/probe] privacy: δ is between 0 and 1, not ${delta}`);
  const kinds = "steps" in training ? [training] : training;
  kinds.forEach(check);
  let best: PrivacySpent = { epsilon: Number.POSITIVE_INFINITY, delta, order: Number.NaN };
  for (const order of orders) {
    const rdp = kinds.reduce((sum, k) => sum + (k.steps === 0 ? 0 : k.steps * renyiDivergence(k, order)), 0);
    const epsilon = Math.max(0, rdp - (Math.log(delta) + Math.log(order)) / (order - 1) + Math.log1p(-1 / order));
    if (epsilon < best.epsilon) best = { epsilon, delta, order };
  }
  return kinds.every((k) => k.steps === 0 || k.sampleRate === 0) ? { ...best, epsilon: 0 } : best;
}

/**
 * The least noise multiplier σ that stays within ε, to three digits.
 * @throws {LfmError} CONFIG_INVALID for an ε that no noise up to 10,000 reaches
 */
export function noiseFor(epsilon: number, delta: number, { sampleRate, steps }: Omit<PrivateSteps, "noiseMultiplier">): number {
  const spent = (noiseMultiplier: number): number => privacySpent({ sampleRate, noiseMultiplier, steps }, delta).epsilon;
  let [low, high] = [0, 1];
  while (spent(high) > epsilon) {
    [low, high] = [high, 2 * high];
    if (high > 10_000)
      throw new LfmError("CONFIG_INVALID", `[@lfm/probe] privacy: no noise reaches ε = ${epsilon} at δ = ${delta} in ${steps} steps`);
  }
  while (high - low > 1e-3 * high) {
    const middle = (low + high) / 2;
    if (spent(middle) > epsilon) low = middle;
    else high = middle;
  }
  return high;
}

/** Examples of a step, each taken with probability q on its own: how many they are differs from step to step, and may be none. */
export function poissonSample(count: number, sampleRate: number, rng: Rng): readonly number[] {
  return Array.from({ length: count }, (_, i) => i).filter(() => rng.uniform() < sampleRate);
}

function check({ sampleRate, noiseMultiplier, steps }: PrivateSteps): void {
  if (!(sampleRate >= 0 && sampleRate <= 1))
    throw new LfmError("CONFIG_INVALID", `[@lfm/probe] privacy: a sample rate of ${sampleRate} is outside 0..1`);
  if (!(noiseMultiplier >= 0))
    throw new LfmError("CONFIG_INVALID", `[@lfm/probe] privacy: a noise multiplier of ${noiseMultiplier} is none`);
  if (!(Number.isInteger(steps) && steps >= 0))
    throw new LfmError("CONFIG_INVALID", `[@lfm/probe] privacy: ${steps} is no number of steps`);
}

/** Widths of the noise beyond where the integrand has its weight. */
const BEYOND = 10;

/**
 * Rényi divergence of order α of one step: ln E[((1 − q) + q·exp((2z − 1) / 2σ²))^α] / (α − 1) over z ~ N(0, σ²) (arXiv 1908.10530, §3.3), as an
 * integral by the trapezoidal rule, which for an analytic integrand that falls off at both ends converges exponentially. Any order above 1 will do.
 */
export function renyiDivergence({ sampleRate: q, noiseMultiplier: s }: Omit<PrivateSteps, "steps">, order: number): number {
  if (q === 0) return 0;
  if (s === 0) return Number.POSITIVE_INFINITY;
  if (q === 1) return order / (2 * s * s);
  // The integrand is singular at a distance of πσ² from the real line: the error falls as exp(−2π²σ² / h).
  const h = Math.min(s / 4, (s * s) / 2);
  const [from, to] = [-BEYOND * s, order + BEYOND * s];
  const logs: number[] = [];
  for (let z = from; z <= to; z += h) {
    const seen = Math.log(q) + (2 * z - 1) / (2 * s * s);
    const unseen = Math.log1p(-q);
    const [most, least] = seen > unseen ? [seen, unseen] : [unseen, seen];
    logs.push(-(z * z) / (2 * s * s) + order * (most + Math.log1p(Math.exp(least - most))));
  }
  const most = logs.reduce((a, b) => Math.max(a, b));
  const total = most + Math.log(logs.reduce((sum, v) => sum + Math.exp(v - most), 0)) + Math.log(h / (s * Math.sqrt(2 * Math.PI)));
  return total / (order - 1);
}
