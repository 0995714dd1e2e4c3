import { LfmError } from "@lfm/core";
import type { MemberOutputs } from "./held-out.js";

/** A linear meta-model over the log-probabilities of all members side by side. */
export interface Stacker {
  /** f32[classes, members · classes] */
  readonly weight: Float32Array;
  /** f32[classes] */
  readonly bias: Float32Array;
  /** Mean cross entropy on the held-out examples, nats. */
  readonly loss: number;
}

/**
 * Stacked generalisation (Wolpert 1992; class probabilities as inputs: Ting & Witten, arXiv 1105.5466): multinomial logistic regression on what
 * members say of held-out examples. The penalty draws towards the mean of log-probabilities, which is what few examples fall back to.
 * @param l2 strength λ of λ/2·‖W − W₀‖² beside the mean cross entropy
 */
export function fitStacker({ classes, logProbabilities, labels }: MemberOutputs, l2: number): Stacker {
  const inputs = logProbabilities.length * classes;
  const width = inputs + 1;
  const examples = labels.length;
  const start = new Float64Array(classes * width);
  for (let c = 0; c < classes; c++)
    for (let k = 0; k < logProbabilities.length; k++) start[c * width + k * classes + c] = 1 / logProbabilities.length;
  // What a member is sure is not so would weigh as much as all else together: −20 is e⁻²⁰.
  const x = new Float64Array(examples * width).fill(1);
  for (let i = 0; i < examples; i++)
    for (const [k, p] of logProbabilities.entries())
      for (let c = 0; c < classes; c++) x[i * width + k * classes + c] = Math.max(p[i * classes + c]!, -20);
  const said = new Float64Array(classes);
  const objective = (w: Float64Array, gradient: Float64Array): { value: number; loss: number } => {
    let loss = 0;
    let penalty = 0;
    for (let j = 0; j < w.length; j++) {
      const off = w[j]! - start[j]!;
      penalty += 0.5 * l2 * off * off;
      gradient[j] = l2 * off;
    }
    for (let i = 0; i < examples; i++) {
      let top = Number.NEGATIVE_INFINITY;
      for (let c = 0; c < classes; c++) {
        let sum = 0;
        for (let j = 0; j < width; j++) sum += w[c * width + j]! * x[i * width + j]!;
        said[c] = sum;
        top = Math.max(top, sum);
      }
      let total = 0;
      for (let c = 0; c < classes; c++) total += Math.exp(said[c]! - top);
      loss += (top + Math.log(total) - said[labels[i]!]!) / examples;
      for (let c = 0; c < classes; c++) {
        const error = (Math.exp(said[c]! - top) / total - (labels[i] === c ? 1 : 0)) / examples;
        for (let j = 0; j < width; j++) gradient[c * width + j]! += error * x[i * width + j]!;
      }
    }
    return { value: loss + penalty, loss };
  };
  const { point, loss } = minimize(start, objective);
  const weight = new Float32Array(classes * inputs);
  const bias = new Float32Array(classes);
  for (let c = 0; c < classes; c++) {
    weight.set(point.subarray(c * width, c * width + inputs), c * inputs);
    bias[c] = point[c * width + inputs]!;
  }
  return { weight, bias, loss };
}

type Objective = (w: Float64Array, gradient: Float64Array) => { value: number; loss: number };

/** L-BFGS (10 pairs) with backtracking, until the largest gradient is under 1e-8. @throws {LfmError} NUMERIC_DIVERGED */
function minimize(start: Float64Array, f: Objective): { point: Float64Array; loss: number } {
  const dot = (a: Float64Array, b: Float64Array): number => a.reduce((s, v, i) => s + v * b[i]!, 0);
  let point = start.slice();
  let gradient = new Float64Array(start.length);
  let at = f(point, gradient);
  const pairs: { s: Float64Array; y: Float64Array; rho: number }[] = [];
  for (let round = 0; round < 500 && gradient.some((g) => Math.abs(g) > 1e-8); round++) {
    const direction = gradient.map((g) => -g);
    const kept: number[] = [];
    for (const { s, y, rho } of pairs.toReversed()) {
      const a = rho * dot(s, direction);
      kept.unshift(a);
      for (let j = 0; j < direction.length; j++) direction[j]! -= a * y[j]!;
    }
    const last = pairs.at(-1);
    if (last) {
      const scale = 1 / (last.rho * dot(last.y, last.y));
      for (let j = 0; j < direction.length; j++) direction[j]! *= scale;
    }
    for (const [k, { s, y, rho }] of pairs.entries()) {
      const b = rho * dot(y, direction);
      for (let j = 0; j < direction.length; j++) direction[j]! += (kept[k]! - b) * s[j]!;
    }
    const slope = dot(direction, gradient);
    let step = 1;
    let next = point;
    let nextGradient = gradient;
    let reached = at;
    for (; step > 1e-14; step /= 2) {
      next = point.map((v, j) => v + step * direction[j]!);
      nextGradient = new Float64Array(start.length);
      reached = f(next, nextGradient);
      if (reached.value <= at.value + 1e-4 * step * slope) break;
    }
    if (!Number.isFinite(reached.value)) throw new LfmError("NUMERIC_DIVERGED", `[@lfm/reuse] stacking: the objective is ${reached.value}`);
    // At the limit of f64 no step lowers the objective any more.
    if (step <= 1e-14) break;
    const s = next.map((v, j) => v - point[j]!);
    const y = nextGradient.map((v, j) => v - gradient[j]!);
    const curvature = dot(s, y);
    if (curvature > 0) pairs.push({ s, y, rho: 1 / curvature });
    if (pairs.length > 10) pairs.shift();
    [point, gradient, at] = [next, nextGradient, reached];
  }
  return { point, loss: at.loss };
}
