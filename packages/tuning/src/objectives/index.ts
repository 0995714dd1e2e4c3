import type { AnyObjective } from "./define-objective.js";
import { dpo } from "./dpo.js";
import { kto } from "./kto.js";
import { orpo } from "./orpo.js";
import { reward } from "./reward.js";

/** Every objective. A new one is a file, a test, and a line here. */
export const objectives: readonly AnyObjective[] = [dpo, kto, orpo, reward];
