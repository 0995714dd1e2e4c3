import type { Scenario } from "../scenario.js";
import { adaptiveRetrieval } from "./retrieval/adaptive.js";
import { contradictingNoise, irrelevantNoise } from "./retrieval/noise.js";
import { ragScale } from "./retrieval/rag-scale.js";
import { scifact } from "./retrieval/scifact.js";
import { zooDocuments } from "./retrieval/zoo-documents.js";

export const retrievalScenarios: readonly Scenario[] = [
  zooDocuments,
  ragScale,
  irrelevantNoise,
  contradictingNoise,
  adaptiveRetrieval,
  scifact,
];
