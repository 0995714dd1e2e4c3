import type { AnyMethod } from "@lfm/core";
import { dafl } from "./dafl.js";
import { logitKd } from "./logit-kd.js";

/** Every distillation method. A new one is a file, a test, and a line here. */
export const distillationMethods: readonly AnyMethod[] = [dafl, logitKd];
