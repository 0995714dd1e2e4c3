import type { Scenario } from "../scenario.js";
import { scifact } from "./retrieval/scifact.js";
import { zooDocuments } from "./retrieval/zoo-documents.js";

export const retrievalScenarios: readonly Scenario[] = [zooDocuments, scifact];
