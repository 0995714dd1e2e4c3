import type { Scenario } from "../scenario.js";
import { conflictingEdits } from "./editing/conflicting-edits.js";
import { counterfact } from "./editing/counterfact.js";
import { batchEdits, sequentialEdits } from "./editing/many-edits.js";
import { smollm2Counterfact, smollm2Zsre } from "./editing/real-edits.js";
import { singleEdits } from "./editing/single-edits.js";

export const editingScenarios: readonly Scenario[] = [
  counterfact,
  singleEdits,
  batchEdits,
  sequentialEdits,
  conflictingEdits,
  smollm2Counterfact,
  smollm2Zsre,
];
