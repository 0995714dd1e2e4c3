import { mean } from "./uncertain.js";

/** Share of a curve that its start and its end are, at either side. */
const SHARE = 0.1;
/** Standard errors of the difference that are no chance. */
const ERRORS = 2;

/**
 * Whether a curve of noisy values ends above its start: the mean of its last tenth lies above that of its first by more than the noise, which is taken
 * from neighbouring values, would bring about.
 */
export function hasRisen(values: readonly number[]): boolean {
  const n = Math.max(1, Math.floor(SHARE * values.length));
  if (values.length < 2) return false;
  const rise = mean(values.slice(-n)) - mean(values.slice(0, n));
  const steps = values.slice(1).map((value, i) => (value - values[i]!) ** 2);
  // Var(xᵢ₊₁ − xᵢ) = 2σ² where nothing but noise tells neighbours apart.
  const noise = Math.sqrt(mean(steps) / 2);
  return rise > ERRORS * noise * Math.sqrt(2 / n);
}
