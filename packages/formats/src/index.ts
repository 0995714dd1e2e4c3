export { type LoadDeltaOptions, loadDelta, saveDelta } from "./deltas.js";
export { type PullOptions, pullModel } from "./hub/pull-model.js";
export { hashWeights } from "./safetensors/hash.js";
export { readSafetensors, type SafetensorsFile } from "./safetensors/read.js";
export { readWeights, type StoredWeights, writeSharded } from "./safetensors/sharded.js";
export { type WriteOptions, writeSafetensors } from "./safetensors/write.js";
export { loadTokenizer } from "./tokenizer/load-tokenizer.js";
export type { BatchOptions, Encoded, EncodeOptions, SpecialTokens, TokenBatch, Tokenizer } from "./tokenizer/tokenizer.js";
export { type WordVocabulary, wordTokenizer } from "./tokenizer/word-tokenizer.js";
