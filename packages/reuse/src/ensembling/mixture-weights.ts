import type { MemberOutputs } from "./held-out.js";

/**
 * Weights w on the simplex that make the held-out labels likeliest under Σ wₖ·pₖ: a concave problem, solved by expectation maximisation
 * (each weight becomes the mean share of its member in the mixture's probability of the label).
 * @returns one weight per member, Σ = 1
 */
export function mixtureWeights({ classes, logProbabilities, labels }: MemberOutputs): number[] {
  const members = logProbabilities.length;
  const likelihood = logProbabilities.map((p) => Float64Array.from(labels, (y, i) => Math.exp(Math.max(p[i * classes + y]!, -60))));
  let w = new Array<number>(members).fill(1 / members);
  for (let round = 0; round < 20_000; round++) {
    const next = new Array<number>(members).fill(0);
    for (let i = 0; i < labels.length; i++) {
      const total = likelihood.reduce((sum, l, k) => sum + w[k]! * l[i]!, 0);
      for (let k = 0; k < members; k++) next[k]! += (w[k]! * likelihood[k]![i]!) / total / labels.length;
    }
    const change = Math.max(...next.map((v, k) => Math.abs(v - w[k]!)));
    w = next;
    if (change < 1e-12) break;
  }
  return w;
}
