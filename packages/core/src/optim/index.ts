export type { Optimizer, OptimizerState, StepScalars } from "./optimizer.js";
export * from "./rules.js";
export { scaledRates } from "./scaled-rates.js";
export * from "./schedule.js";
