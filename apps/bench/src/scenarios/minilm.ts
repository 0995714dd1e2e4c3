import type { Scenario } from "../scenario.js";
import { minilmDomains } from "./minilm/domains.js";
import { minilmSets } from "./minilm/sets-at-once.js";
import { clinc150, sst2 } from "./minilm/tuning.js";

/** Real sentences and a real encoder, over paradigms. */
export const minilmScenarios: readonly Scenario[] = [clinc150, sst2, minilmSets, minilmDomains];
