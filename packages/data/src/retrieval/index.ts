export { type BeirSet, isBeirFolder, readBeir } from "./beir.js";
export { documentKinds, readDocuments } from "./documents.js";
export { readPassages } from "./passages.js";
export { type CranfieldSet, readCranfield } from "./smart.js";
export { readTopics } from "./topics.js";
export { readQrels, readTrecRun, writeQrels, writeTrecRun } from "./trec.js";
export type { Hit, Passage, Qrels, Query, Run } from "./types.js";
