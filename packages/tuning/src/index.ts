export { fromAdapterFolder, hasHubFolder, isAdapterFolder, toHubFolder } from "./adapter-folder.js";
export type { ToAdapterHubOptions } from "./adapter-hub.js";
export { fisherInput, freshInput, replayInput } from "./against/index.js";
export {
  type AnyTuningMethod,
  answersInput,
  defineTuning,
  type TuningInputs,
  type TuningMethod,
  type TuningOutput,
  type TuningSpec,
} from "./define-tuning.js";
export {
  type AnsweredRows,
  answeredRows,
  answeredTask,
  answersOf,
  type Goal,
  inOrder,
  type LabelledRows,
  labelledRows,
  labelNames,
  looksLikeValues,
  outputsOf,
  requireReadable,
  type TextRows,
  textBatch,
  textRows,
  type ValuedRows,
  valuedRows,
} from "./examples/answered-rows.js";
export { type Answer, type ChoiceRows, choiceRows, choicesInput, classChoices, demonstrationsInput } from "./examples/choice-rows.js";
export { packedBatch, packedTask } from "./examples/packed-rows.js";
export type { CompletionRow, JudgedRow, PairRow } from "./examples/preference-rows.js";
export { preferenceTask, requireLearner } from "./examples/preference-task.js";
export { type TextTaskOptions, textTask } from "./examples/text-task.js";
export {
  type BatchOptions,
  joint,
  languageBatch,
  languageRows,
  languageTask,
  learnedRows,
  predictedRows,
  samplerOf,
  single,
  type TokenRow,
  taskKind,
} from "./examples/token-rows.js";
export { isForgetting, type Rise, retainedInput, riseOf } from "./forgetting-monitor.js";
export { initLora, type LoraScaling, loraHooks } from "./lora-hooks.js";
export { isPoolable, type LoraPoolOptions, loraPool } from "./lora-pool.js";
export { adalora } from "./methods/adalora.js";
export { adapterFusion } from "./methods/adapter-fusion.js";
export { autoprompt } from "./methods/autoprompt.js";
export { bitfit } from "./methods/bitfit.js";
export { type BlackBoxTuningInputs, type BlackBoxTuningOutput, blackBox } from "./methods/black-box.js";
export { boft } from "./methods/boft.js";
export { bottleneck } from "./methods/bottleneck.js";
export { compacter } from "./methods/compacter.js";
export { full } from "./methods/full.js";
export { ia3 } from "./methods/ia3.js";
export { type InContextInputs, inContext } from "./methods/in-context.js";
export { tuningMethods } from "./methods/index.js";
export { linearProbe } from "./methods/linear-probe.js";
export { lnTuning } from "./methods/ln-tuning.js";
export { loha } from "./methods/loha.js";
export { lokr } from "./methods/lokr.js";
export { type LoraConfig, lora } from "./methods/lora.js";
export { lpFt } from "./methods/lp-ft.js";
export { oft } from "./methods/oft.js";
export { pTuning } from "./methods/p-tuning.js";
export { prefix } from "./methods/prefix.js";
export { prompt } from "./methods/prompt.js";
export { vera } from "./methods/vera.js";
export { vpt } from "./methods/vpt.js";
export { type AnyObjective, type Objective, objectiveTask } from "./objectives/define-objective.js";
export { type DpoConfig, dpo } from "./objectives/dpo.js";
export { objectives } from "./objectives/index.js";
export { type KtoConfig, kto } from "./objectives/kto.js";
export { type OrpoConfig, orpo } from "./objectives/orpo.js";
export { type RewardConfig, reward } from "./objectives/reward.js";
export { type ChosenTask, chosenTask, type TaskOptions, taskOptions } from "./objectives/task-options.js";
export { fromPeft, hasPeftForm, type ToPeftOptions, toPeft } from "./peft.js";
export { expectShape, type PeftForm, type PeftParts, siteOf } from "./peft-form.js";
export { loadingLine, type PeftRecipe, peftRecipe } from "./peft-recipe.js";
export type { Phase } from "./phases.js";
export { answerReader, selfConsistency, type Vote, type VoteOptions } from "./self-consistency.js";
export type { Start } from "./start.js";
export { targetSites } from "./target-sites.js";
export { type TrainingConfig, trainingFields } from "./training-options.js";
