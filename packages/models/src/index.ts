export { type ConvnetConfig, convnet } from "./architectures/convnet.js";
export { type LlamaConfig, llama } from "./architectures/llama.js";
export { type MlpConfig, mlp } from "./architectures/mlp.js";
export { type InitOptions, initWeights } from "./init.js";
