/**
 * L2-SP (arXiv 1802.01483, equation 4): α/2·‖w − w⁰‖² holds weights at their values before, β/2·‖w‖² those that had none (a fresh head) at 0. Of an
 * adapter w is what it makes of the weights.
 */
import { add, type ChangedWeight, mul, scalar, square, sub, sum, type Tensor } from "@lfm/core";

export interface L2SpOptions {
  readonly alpha: number;
  readonly beta: number;
}

/** @param fresh parameters without trained values */
export function l2SpPenalty(changed: readonly ChangedWeight[], { alpha, beta }: L2SpOptions, fresh: ReadonlySet<string>): Tensor {
  const total = (some: readonly Tensor[], strength: number): Tensor =>
    mul(
      some.map((t) => sum(square(t))).reduce((a, b) => add(a, b), scalar(0)),
      strength / 2,
    );
  const [known, unknown] = [changed.filter((w) => !fresh.has(w.name)), changed.filter((w) => fresh.has(w.name))];
  return add(
    total(
      known.map((w) => sub(w.after, w.before)),
      alpha,
    ),
    total(
      unknown.map((w) => w.after),
      beta,
    ),
  );
}
