import type { Scenario } from "../scenario.js";
import { textTasksMerge } from "./reuse/text-tasks-merge.js";

export const reuseScenarios: readonly Scenario[] = [textTasksMerge];
