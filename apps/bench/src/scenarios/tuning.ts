import type { Scenario } from "../scenario.js";
import { textTask, textTaskFew, textTaskRandom } from "./tuning/text-task.js";
import { textTasksAtOnce } from "./tuning/text-tasks.js";

export const tuningScenarios: readonly Scenario[] = [textTask, textTaskFew, textTaskRandom, textTasksAtOnce];
