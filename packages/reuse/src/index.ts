export type { FisherEstimator } from "./data-driven/fisher-statistics.js";
export { collectStats, loadStats, type Statistics, type StatisticsOptions, saveStats, verifyStats } from "./data-driven/statistics.js";
export { mergeWithStatistics, type StatisticsMergeInputs, type TensorStatistics } from "./data-driven/statistics-merge.js";
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
export { arceeFusion } from "./methods/arcee-fusion.js";
export { average } from "./methods/average.js";
export { breadcrumbs } from "./methods/breadcrumbs.js";
export { dare } from "./methods/dare.js";
export { della } from "./methods/della.js";
export { type EnsembleInputs, type EnsembleOutput, ensemble } from "./methods/ensemble.js";
export { fisher, mergeFisher } from "./methods/fisher.js";
export { mergeMethods, reuseMethods } from "./methods/index.js";
export { karcher } from "./methods/karcher.js";
export { modelStock } from "./methods/model-stock.js";
export { multislerp } from "./methods/multislerp.js";
export { nearswap } from "./methods/nearswap.js";
export { nuslerp } from "./methods/nuslerp.js";
export { passthrough } from "./methods/passthrough.js";
export { ram } from "./methods/ram.js";
export { mergeRegmean, regmean } from "./methods/regmean.js";
export { sce } from "./methods/sce.js";
export { slerp } from "./methods/slerp.js";
export { taskArithmetic } from "./methods/task-arithmetic.js";
export { ties } from "./methods/ties.js";
export { type MergeReport, type MergeResources, mergeResources, type RunMergeOptions, runMerge } from "./run-merge.js";
