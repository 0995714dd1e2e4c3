import type { Scenario } from "../scenario.js";

/** Every scenario of the platform, in the order of the paradigms' files. */
export const scenarios: readonly Scenario[] = [];
