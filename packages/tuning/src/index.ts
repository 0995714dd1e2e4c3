export { type TrainingConfig, type TuningInputs, type TuningOutput, targetSites, trainingFields } from "./inputs.js";
export { bottleneck } from "./methods/bottleneck.js";
export { full } from "./methods/full.js";
export { tuningMethods } from "./methods/index.js";
export { initLora, type LoraConfig, lora, loraHooks, loraScale, mergeLora } from "./methods/lora.js";
export { prompt } from "./methods/prompt.js";
export { fromPeft, type ToPeftOptions, toPeft } from "./peft.js";
