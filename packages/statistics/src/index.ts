export { measureNorms, normStatisticsOf } from "./batch-norms.js";
export { findStatistics, refuseOtherWeights, requireKind, verifyStats } from "./checks.js";
export { batchSpecs, type DataBatch } from "./data-batch.js";
export { loadStats, saveStats } from "./files.js";
export { collectFisher, type FisherOptions } from "./fisher.js";
export { collectGrams, type GramOptions, gramSites, sumGrams } from "./gram.js";
export { GramSum } from "./gram-sum.js";
export { type Answers, type Corpus, eachBatch, type Flow, type HostBatch, probeAnswers, type TaskProbe, tokenCorpus } from "./probe.js";
export type { CollectOptions, FisherEstimator, FisherStatistics, GramStatistics, Statistics } from "./statistics.js";
export {
  between,
  correlations,
  innerProducts,
  type UnitStatistics,
  type UnitStatisticsOptions,
  type UnitTap,
  unitStatistics,
} from "./unit-statistics.js";
