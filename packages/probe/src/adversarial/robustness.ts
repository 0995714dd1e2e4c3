import type { Findings } from "../define-probe.js";
import { shareOf } from "../statistics/binomial.js";

/**
 * What is said of an attack that changes inputs: of the inputs that the model was right on, how many it is wrong on afterwards.
 * @param right, still — 1 for each example that is answered right before, and under attack; @param queries rows asked about
 */
export function brokenInputs(
  right: ArrayLike<number>,
  still: ArrayLike<number>,
  queries: number,
  more: Partial<Omit<Findings, "risks" | "queries">> = {},
): Findings {
  const n = right.length;
  const [clean, robust] = [Array.from(right), Array.from(still)].map((side) => side.reduce((a, b) => a + b, 0)) as [number, number];
  const broken = Array.from(right).filter((r, i) => r === 1 && still[i] === 0).length;
  return {
    ...more,
    risks: { success: shareOf(broken, clean) },
    measured: { cleanAccuracy: clean / n, robustAccuracy: robust / n, examples: n, ...more.measured },
    queries,
    warnings: [
      ...(clean < n / 2 ? [`the model is right on ${clean} of ${n} examples only: success counts those alone`] : []),
      ...(more.warnings ?? []),
    ],
  };
}
