export { answerLoss, type EditBatch, type EditingInputs, type EditingOutput, type EditRequest, editBatch } from "./inputs.js";
export { keyCovariance, mlpOutSite, solveSpd } from "./keys.js";
export { ftL } from "./methods/ft-l.js";
export { editingMethods } from "./methods/index.js";
export { type RomeConfig, rankOneUpdate, rome } from "./methods/rome.js";
