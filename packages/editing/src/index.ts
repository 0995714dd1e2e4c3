export { PROMPT_END } from "./codebook.js";
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
export { alphaedit } from "./methods/alphaedit.js";
export { emmet } from "./methods/emmet.js";
export { ft } from "./methods/ft.js";
export { ftL } from "./methods/ft-l.js";
export { ftM } from "./methods/ft-m.js";
export { grace } from "./methods/grace.js";
export { editingMethods } from "./methods/index.js";
export { kn } from "./methods/kn.js";
export { lora } from "./methods/lora.js";
export { memit } from "./methods/memit.js";
export { pmet } from "./methods/pmet.js";
export { rRome } from "./methods/r-rome.js";
export { type RomeConfig, rome } from "./methods/rome.js";
export { wise } from "./methods/wise.js";
export { type RankOne, rankOneForm, rankOneTensors, rankOneUpdate } from "./rank-one.js";
