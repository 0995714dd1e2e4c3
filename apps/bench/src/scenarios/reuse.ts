import type { Scenario } from "../scenario.js";
import { mergeFiles } from "./reuse/merge-files.js";
import { textTasksMerge } from "./reuse/text-tasks-merge.js";
import { twoGlyphNets } from "./reuse/two-glyph-nets.js";

export const reuseScenarios: readonly Scenario[] = [textTasksMerge, twoGlyphNets, mergeFiles];
