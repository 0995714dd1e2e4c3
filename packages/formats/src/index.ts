export type { HubAround, HubBottleneck, HubBottleneckInput, HubFusion } from "./adapter-hub/config.js";
export {
  type HubAdapter,
  type HubHead,
  isHubAdapter,
  isHubFusion,
  readHubAdapter,
  readHubFusion,
  readHubHead,
  writeHubPart,
} from "./adapter-hub/folder.js";
export { isHubSetup, readHubSetup, writeHubSetup } from "./adapter-hub/setup.js";
export {
  type DeltaHeader,
  isDeltaFolder,
  type LoadDeltaOptions,
  loadDelta,
  readDeltaHeader,
  type SaveDeltaOptions,
  saveDelta,
} from "./deltas.js";
export { type FolderLock, lockFolder } from "./folder-lock.js";
export { type ConvertedGguf, type ConvertGgufOptions, convertGguf } from "./gguf/convert-gguf.js";
export { type GgufLoraBase, writeGgufLora } from "./gguf/gguf-lora.js";
export { isHubName, type PullOptions, pullModel } from "./hub/pull-model.js";
export { CONFIG_FLOATS, floatsOf, readJsonFile, readJsonObject } from "./json-file.js";
export { type FormatJsonOptions, formatJson, parseJson } from "./json-text.js";
export { copyTokenizer, type ModelFolder, readModelFolder, tokenizerFilesIn } from "./model-folder.js";
export { namedRecord } from "./named-record.js";
export { nameFlaw, pathFlaw } from "./names.js";
export { type OutputPlace, openResultPlace, PARTS, type ResultPlace, requireFree, takeFinished } from "./output-place.js";
export { openPeftAdapter, type PeftAdapter, type ReadPeftOptions, readPeftAdapter, writePeftAdapter } from "./peft/adapter.js";
export { type LoraPeftConfig, type PeftConfig, type PeftConfigInput, peftTaskType } from "./peft/config.js";
export { refuseOtherOptions } from "./peft/layer-kinds.js";
export { type LoraLayer, type LoraParts, loraParts, type TokenRows } from "./peft/lora-layers.js";
export { modulePatterns } from "./peft/module-patterns.js";
export { parameterName } from "./peft/tensor-names.js";
export { hashWeights } from "./safetensors/hash.js";
export { type FileLayout, layoutFile, layoutShards, SHARD_INDEX, type ShardLayout, type TensorType } from "./safetensors/layout.js";
export { readSafetensors, type SafetensorsFile } from "./safetensors/read.js";
export { readWeights, type StoredWeights, writeSharded } from "./safetensors/sharded.js";
export { type WriteOptions, writeSafetensors } from "./safetensors/write.js";
export { eventFile, type ScalarEvent } from "./tensorboard/event-file.js";
export { hasTokenizer } from "./tokenizer/describe-tokenizer.js";
export { loadTokenizer } from "./tokenizer/load-tokenizer.js";
export type { BatchOptions, Encoded, EncodeOptions, SpecialTokens, TokenBatch, Tokenizer } from "./tokenizer/tokenizer.js";
export { type WordVocabulary, wordTokenizer } from "./tokenizer/word-tokenizer.js";
export { clearAbandoned, writeError, writeTextFile } from "./whole-file.js";
export { type TimeLimit, timeLimit } from "./within-time.js";
