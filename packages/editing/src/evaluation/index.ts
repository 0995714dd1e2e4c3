export { type AnswerScore, type AnswerScorer, type Continued, createAnswerScorer, type ScorerOptions } from "./answer-scorer.js";
export { answerTokens } from "./answer-tokens.js";
export { type EditKeys, keysOfEdits } from "./edit-keys.js";
export { createEditReader, type EditReader } from "./edit-reader.js";
export { axisScores, type EditScores, EditTally, type KindScore, overallScore, type WrongAnswer } from "./edit-scores.js";
export { nGramEntropy, type TextSimilarity, textSimilarity } from "./fluency.js";
export { type KeyRank, rankOfKeys } from "./key-rank.js";
export { type AskedFact, type KnownFact, knownFacts, LEAST_OBJECTS, TOP } from "./known-facts.js";
export { type EditAxis, type EditProbe, type ProbeKind, type ProbeKindId, probeKindIds, probeKinds } from "./probes.js";
export {
  type Generation,
  mainProtocol,
  type ProbeReading,
  type ProbeScores,
  type ProtocolId,
  protocolIds,
  protocols,
  scoreProbe,
} from "./protocols.js";
export { type AskedRecord, recordProbes } from "./record-probes.js";
