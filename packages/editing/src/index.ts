export { defineEditingMethod, type EditingMethod, type Editor, prepareEditor } from "./editor.js";
export * from "./evaluation/index.js";
export {
  answerLoss,
  type EditBatch,
  type EditingInputs,
  type EditingOutput,
  type EditorInputs,
  type EditRequest,
  editBatch,
  editRequestsInput,
  essenceRow,
  gramInput,
  keyCorpusInput,
  promptRows,
} from "./inputs.js";
export { keyCovariance, mlpOutSite } from "./keys.js";
export { ftL } from "./methods/ft-l.js";
export { editingMethods } from "./methods/index.js";
export { type RomeConfig, rome } from "./methods/rome.js";
export { type RankOne, rankOneForm, rankOneTensors, rankOneUpdate } from "./rank-one.js";
