export { generatorAnswerer, searchRetriever, type TextGenerator, type TextTokenizer } from "./answerers.js";
export {
  type AdaptiveAnswer,
  type AdaptiveOptions,
  alwaysRetrieve,
  answerAdaptively,
  atRandom,
  type Draft,
  type Drafter,
  neverRetrieve,
  type RetrievalPolicy,
  whenUnsure,
} from "./augmentation/adaptive.js";
export { type Citation, citationsOf, type NumberedPassage, numberedText } from "./augmentation/citations.js";
export { type FittedPassages, fitPassages } from "./augmentation/fit-passages.js";
export { createKnnLm, type KnnLm, type KnnLmOptions } from "./augmentation/knn-lm.js";
export { type Chunk, type ChunkedPassage, type Chunker, type ChunkSize, chunkPassages } from "./chunking/chunk.js";
export { type ParentChild, parentChild } from "./chunking/parents.js";
export { type RecursiveOptions, recursiveChunks } from "./chunking/recursive.js";
export { sentenceChunks, sentencesOf, spacedWords, type TokenPlaces, windowChunks } from "./chunking/windows.js";
export { type Measured, type MeasureOptions, measure } from "./evaluation/metrics.js";
export { convexFusion, reciprocalRankFusion, type Scaling, scalings, weightedFusion } from "./fusion.js";

export { type Bm25Index, type Bm25Options, buildBm25, loadBm25, type QueryTerms } from "./index/bm25-index.js";
export { type Bm25fIndex, type Bm25fOptions, buildBm25f } from "./index/combined-fields.js";
export type { Inverted } from "./index/inverted-index.js";
export { type LikelihoodSearch, likelihoodSearch, type Smoothing } from "./index/language-model.js";
export { parseQuery, type QueryPart } from "./index/query-syntax.js";
export {
  type EncodedSearchInputs,
  passagesInput,
  queriesInput,
  runInput,
  type SearchInputs,
  type SearchOutput,
  textEncoderInput,
} from "./inputs.js";
export { approximate } from "./methods/approximate.js";
export { bm25 } from "./methods/bm25.js";
export { bm25f } from "./methods/bm25f.js";
export { flat } from "./methods/flat.js";
export { type HybridInputs, hybrid } from "./methods/hybrid.js";
export { retrievalMethods } from "./methods/index.js";
export { queryLikelihood } from "./methods/query-likelihood.js";
export {
  type Answerer,
  answererInput,
  fillPrompt,
  type RagAnswer,
  type RagConfig,
  type RagInputs,
  type Retriever,
  rag,
  retrieverInput,
} from "./methods/rag.js";
export { rm3 } from "./methods/rm3.js";
export { type MmrOptions, maximalMarginalRelevance } from "./mmr.js";
export { type NoiseOptions, type NoiseQuestion, noiseCurve, noiseMonitor } from "./noise.js";
export { type PairScorer, type RerankOptions, rerank } from "./rerank.js";
export { type ExpandingSearch, type Rm3Options, relevanceModel } from "./rm3.js";
export {
  type Analyzer,
  type AnalyzerName,
  analyzerNamed,
  analyzerNames,
  englishAnalyzer,
  stopWords,
  wordAnalyzer,
} from "./text/analyzer.js";
export { tokenize } from "./text/tokenize.js";
export { passageText, type TextEncoder } from "./text-encoder.js";
export type { Audit, AuditOptions } from "./vectors/audit.js";
export { type Factory, parseFactory } from "./vectors/factory.js";
export { createLateIndex, type LateIndex } from "./vectors/late-interaction.js";
export type { Metric } from "./vectors/metric.js";
export type { SearchDepth } from "./vectors/search-depth.js";
export {
  createVectorIndex,
  loadVectorIndex,
  type VectorIndex,
  type VectorIndexOptions,
  type VectorSearchOptions,
} from "./vectors/vector-index.js";
