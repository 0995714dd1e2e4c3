export {
  answerLoss,
  type EditBatch,
  type EditingInputs,
  type EditingOutput,
  type EditRequest,
  editBatch,
  editRequestInput,
  essenceRow,
  gramInput,
  keyCorpusInput,
  promptRows,
} from "./inputs.js";
export { keyCovariance, mlpOutSite } from "./keys.js";
export { ftL } from "./methods/ft-l.js";
export { editingMethods } from "./methods/index.js";
export { type RomeConfig, rome } from "./methods/rome.js";
export { mergeEdits, type RankOne, rankOneHooks, rankOneTensors, rankOneUpdate } from "./rank-one.js";
export { EditSessions } from "./sessions.js";
