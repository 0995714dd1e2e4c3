import type { Scenario } from "../scenario.js";
import { textTask } from "./tuning/text-task.js";
import { textTasksAtOnce } from "./tuning/text-tasks.js";

export const tuningScenarios: readonly Scenario[] = [textTask, textTasksAtOnce];
