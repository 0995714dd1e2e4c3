import type { Scenario } from "../scenario.js";
import { distillationScenarios } from "./distillation.js";
import { metaScenarios } from "./meta.js";
import { minilmScenarios } from "./minilm.js";
import { retrievalScenarios } from "./retrieval.js";

/** Every scenario of the platform. A new file of them is a line here, its cells are lines in `suites/`. */
export const scenarios: readonly Scenario[] = [...retrievalScenarios, ...distillationScenarios, ...metaScenarios, ...minilmScenarios];
