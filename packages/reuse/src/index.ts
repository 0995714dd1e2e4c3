export { type ActivationMatchingOptions, activationMatching } from "./alignment/activation-matching.js";
export { type ActivationStatistics, activationStatistics } from "./alignment/activation-statistics.js";
export { permutationSpec } from "./alignment/infer-spec.js";
export type { AlignmentInputs } from "./alignment/inputs.js";
export {
  type Barrier,
  type CurveOptions,
  type CurvePoint,
  interpolate,
  interpolationCurve,
  lossBarrier,
} from "./alignment/interpolation.js";
export {
  type AxisUse,
  type GroupPermutation,
  type HeadGroup,
  invertPermutations,
  type PermutationGroup,
  type PermutationSpec,
  type Permutations,
  permuteWeights,
  type Tap,
  type UnitGroup,
} from "./alignment/permutation-spec.js";
export { randomPermutations } from "./alignment/random-permutations.js";
export { matchingValue, type WeightMatch, type WeightMatchingOptions, weightMatching } from "./alignment/weight-matching.js";
export { type ZipOptions, zipMatching } from "./alignment/zip-matching.js";
export type { GateMode, Prompts } from "./data-driven/gate-rows.js";
export type { HeldOutBatch } from "./ensembling/held-out.js";
export {
  adaptersInput,
  examplesInput,
  expertPromptsInput,
  fishersInput,
  gramsInput,
  heldOutInput,
  scoreInput,
  taskProbesInput,
} from "./input-kinds.js";
export type { MergeInputs, MergeOutput } from "./inputs.js";
export { type CheckedModel, checkMerge, type MergeCheck, type MergeProblem } from "./mergekit/check.js";
export { type MergeDocument, type ModelReference, referencedModels } from "./mergekit/document.js";
export { type ExplainedInput, type ExplainedTensor, explainMerge } from "./mergekit/explain.js";
export type { ModelFiles, MultiplyOut, ResolveModel } from "./mergekit/model-files.js";
export { type ParseMergeOptions, parseMergeConfig } from "./mergekit/parse.js";
export { type DocumentPlan, planMerge } from "./mergekit/plan.js";
export type { PlanMergeOptions } from "./mergekit/plan-options.js";
export { defineMerge } from "./merging/define-merge.js";
export type { MergeChunk, MergeMethod, MergeSpec, MergeTensor, Survey } from "./merging/merge-method.js";
export type { MergePlan, PlannedInput, PlannedStatistics, PlannedTensor, TensorSource } from "./merging/plan.js";
export { type AdaMergingOutput, type AdaptedMergeInputs, adaMerging } from "./methods/ada-merging.js";
export { arceeFusion } from "./methods/arcee-fusion.js";
export { average } from "./methods/average.js";
export { breadcrumbs } from "./methods/breadcrumbs.js";
export { dare } from "./methods/dare.js";
export { della } from "./methods/della.js";
export { type EnsembleInputs, type EnsembleOutput, ensemble } from "./methods/ensemble.js";
export { type ExtractLoraInputs, type ExtractLoraOutput, extractLora } from "./methods/extract-lora.js";
export { fisher } from "./methods/fisher.js";
export { mergeMethods, reuseMethods } from "./methods/index.js";
export { karcher } from "./methods/karcher.js";
export { type LoraHubInputs, type LoraHubOutput, loraHub } from "./methods/lora-hub.js";
export { type MergeLoraInputs, type MergeLoraOutput, mergeLora } from "./methods/merge-lora.js";
export { modelStock } from "./methods/model-stock.js";
export { type MoeUpcyclingInputs, type MoeUpcyclingOutput, moeUpcycling } from "./methods/moe-upcycling.js";
export { multislerp } from "./methods/multislerp.js";
export { nearswap } from "./methods/nearswap.js";
export { nuslerp } from "./methods/nuslerp.js";
export { type OtFusionOutput, otFusion } from "./methods/ot-fusion.js";
export { passthrough } from "./methods/passthrough.js";
export { ram } from "./methods/ram.js";
export { type ReBasinOutput, reBasin } from "./methods/re-basin.js";
export { regmean } from "./methods/regmean.js";
export { regmeanPlusPlus } from "./methods/regmean-plus-plus.js";
export { sce } from "./methods/sce.js";
export { slerp } from "./methods/slerp.js";
export { type SmileInputs, type SmileOutput, smile } from "./methods/smile.js";
export { type GreedySoupInputs, type GreedySoupOutput, greedySoup } from "./methods/soups.js";
export { taskArithmetic } from "./methods/task-arithmetic.js";
export { ties } from "./methods/ties.js";
export { type WemoeOutput, wemoe } from "./methods/wemoe.js";
export { type ZipitOutput, zipit } from "./methods/zipit.js";
export { identifyMerge, type MergeReport, type MergeResources, mergeResources, type RunMergeOptions, runMerge } from "./run-merge.js";
export { addTasks, analogousTask, applyTask, negateTask, type TaskVector, taskVector } from "./task-vectors.js";
