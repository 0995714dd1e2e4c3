export { type MergeInputs, type MergeOutput, mergeTensors } from "./inputs.js";
export { average } from "./methods/average.js";
export { type EnsembleInputs, type EnsembleOutput, ensemble } from "./methods/ensemble.js";
export { reuseMethods } from "./methods/index.js";
export { taskArithmetic } from "./methods/task-arithmetic.js";
export { ties } from "./methods/ties.js";
