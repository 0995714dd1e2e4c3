export { type GeneratorShape, generate, initGenerator } from "./generator.js";
export { activationLoss, balanceLoss, batchNormHook, logitDistance, oneHotLoss } from "./generator-losses.js";
export type { DistillationInputs, DistillationOutput } from "./inputs.js";
export { dafl } from "./methods/dafl.js";
export { distillationMethods } from "./methods/index.js";
export { logitKd, softTargetLoss } from "./methods/logit-kd.js";
export { collapseVerdict } from "./mode-collapse.js";
