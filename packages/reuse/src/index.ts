export type { MergeInputs, MergeOutput } from "./inputs.js";
export {
  defineMerge,
  type MergeChunk,
  type MergeMethod,
  type MergeSpec,
  type MergeTensor,
  type Survey,
} from "./merging/define-merge.js";
export type { MergePlan, PlannedInput, PlannedTensor, TensorSource } from "./merging/plan.js";
export { average } from "./methods/average.js";
export { dare } from "./methods/dare.js";
export { type EnsembleInputs, type EnsembleOutput, ensemble } from "./methods/ensemble.js";
export { mergeMethods, reuseMethods } from "./methods/index.js";
export { passthrough } from "./methods/passthrough.js";
export { slerp } from "./methods/slerp.js";
export { taskArithmetic } from "./methods/task-arithmetic.js";
export { ties } from "./methods/ties.js";
