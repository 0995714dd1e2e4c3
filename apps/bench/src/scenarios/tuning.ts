import type { Scenario } from "../scenario.js";
import { textTask } from "./tuning/text-task.js";

export const tuningScenarios: readonly Scenario[] = [textTask];
