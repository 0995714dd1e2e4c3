import type { Scenario } from "../scenario.js";
import { distillationScenarios } from "./distillation.js";
import { editingScenarios } from "./editing.js";
import { metaScenarios } from "./meta.js";
import { minilmScenarios } from "./minilm.js";
import { retrievalScenarios } from "./retrieval.js";
import { reuseScenarios } from "./reuse.js";
import { tuningScenarios } from "./tuning.js";

/** Every scenario of the platform. A new file of them is a line here, its cells are lines in `suites/`. */
export const scenarios: readonly Scenario[] = [
  ...tuningScenarios,
  ...retrievalScenarios,
  ...distillationScenarios,
  ...reuseScenarios,
  ...metaScenarios,
  ...editingScenarios,
  ...minilmScenarios,
];
