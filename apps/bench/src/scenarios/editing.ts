import type { Scenario } from "../scenario.js";
import { counterfact } from "./editing/counterfact.js";

export const editingScenarios: readonly Scenario[] = [counterfact];
