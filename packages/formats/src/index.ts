export { hashWeights } from "./safetensors/hash.js";
export { readSafetensors, type SafetensorsFile } from "./safetensors/read.js";
export { readWeights, type StoredWeights, writeSharded } from "./safetensors/sharded.js";
export { type WriteOptions, writeSafetensors } from "./safetensors/write.js";
