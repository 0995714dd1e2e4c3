export { type BeirSet, isBeirFolder, readBeir, readPassages } from "./beir.js";
export { readDocuments } from "./documents.js";
export { readQrels, readTrecRun, writeQrels, writeTrecRun } from "./trec.js";
export type { Hit, Passage, Qrels, Query, Run } from "./types.js";
