export type { FisherEstimator } from "./data-driven/fisher-statistics.js";
export { mergeWithStatistics, type StatisticsMergeInputs, type TensorStatistics } from "./data-driven/statistics-merge.js";
export { collectStats, loadStats, type Statistics, type StatisticsOptions, saveStats, verifyStats } from "./data-driven/statistics.js";
export type { TaskProbe } from "./data-driven/task-probe.js";
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
export { type AdaMergingOutput, type AdaptedMergeInputs, adaMerging } from "./methods/ada-merging.js";
export { average } from "./methods/average.js";
export { dare } from "./methods/dare.js";
export { type EnsembleInputs, type EnsembleOutput, ensemble } from "./methods/ensemble.js";
export { fisher, mergeFisher } from "./methods/fisher.js";
export { mergeMethods, reuseMethods } from "./methods/index.js";
export { passthrough } from "./methods/passthrough.js";
export { mergeRegmean, regmean } from "./methods/regmean.js";
export { slerp } from "./methods/slerp.js";
export { taskArithmetic } from "./methods/task-arithmetic.js";
export { ties } from "./methods/ties.js";
