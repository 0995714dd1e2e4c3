export { type Episode, type MetaInputs, type MetaOutput, metaInputs, stackEpisodes } from "./inputs.js";
export { metaMethods } from "./methods/index.js";
export { adaptedAnswers, maml } from "./methods/maml.js";
export { negativeSquaredDistances, protonet, prototypes } from "./methods/protonet.js";
