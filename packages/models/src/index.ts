export { type BertConfig, bert } from "./architectures/bert.js";
export { type ConvnetConfig, convnet } from "./architectures/convnet.js";
export { type Gpt2Config, gpt2 } from "./architectures/gpt2.js";
export { type LlamaConfig, llama } from "./architectures/llama.js";
export { type MlpConfig, mlp } from "./architectures/mlp.js";
export { type VitConfig, vit } from "./architectures/vit.js";
export { type InitOptions, initWeights } from "./init.js";
