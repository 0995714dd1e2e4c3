export { type CasedRecord, caseOfRecord, subjectSpan, worldCases } from "./case-tokens.js";
export { type EditCase, editCasesInput } from "./cases.js";
export { PROMPT_END } from "./codebook.js";
export { defineEditingMethod, type EditingMethod, type Editor, prepareEditor } from "./editor.js";
export * from "./evaluation/index.js";
export { type FactInWords, factTokens } from "./fact-tokens.js";
export {
  answerLoss,
  type EditBatch,
  type EditDemonstration,
  type EditingInputs,
  type EditingOutput,
  type EditorInputs,
  type EditRequest,
  editBatch,
  editBatchInput,
  editRequestsInput,
  essenceRow,
  gramInput,
  keyCorpusInput,
  promptRows,
} from "./inputs.js";
export { keyCovariance, mlpOutSite } from "./keys.js";
export { bestLayer, type CaseScores, type LayerScores, sweepLayers } from "./layer-sweep.js";
export type { EditorScores } from "./learned/editor-training.js";
export { alphaedit } from "./methods/alphaedit.js";
export { emmet } from "./methods/emmet.js";
export { ft } from "./methods/ft.js";
export { ftL } from "./methods/ft-l.js";
export { ftM } from "./methods/ft-m.js";
export { grace } from "./methods/grace.js";
export { ike } from "./methods/ike.js";
export { editingMethods, editorTrainings } from "./methods/index.js";
export { kn } from "./methods/kn.js";
export { lora } from "./methods/lora.js";
export { memit } from "./methods/memit.js";
export { mend } from "./methods/mend.js";
export { pmet } from "./methods/pmet.js";
export { rRome } from "./methods/r-rome.js";
export { type RomeConfig, rome } from "./methods/rome.js";
export { subjectMemory } from "./methods/subject-memory.js";
export { tPatcher } from "./methods/t-patcher.js";
export { type TrainEditorInputs, type TrainEditorOutput, trainMend } from "./methods/train-mend.js";
export { wise } from "./methods/wise.js";
export { type LowRankChange, lowRankChanges, type RankOne, rankOneForm, rankOneTensors, rankOneUpdate } from "./rank-one.js";
export { averageEffects, effectsOf, tokenGroups } from "./tracing/average-effects.js";
export {
  type CausalTrace,
  compileTracer,
  embeddingDeviation,
  subjectNoise,
  type TracedPart,
  type TraceOptions,
  type TraceRequest,
  type Tracer,
  tracedParts,
  traceWindow,
} from "./tracing/causal-trace.js";
export { compileLens, type LogitLens, type NamedToken } from "./tracing/logit-lens.js";
export { loadEditor, saveEditor, type TrainedEditor, trainedEditorInput } from "./trained-editor.js";
