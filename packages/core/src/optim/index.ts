export type { Optimizer, OptimizerState, StepScalars } from "./optimizer.js";
export * from "./rules.js";
export * from "./schedule.js";
