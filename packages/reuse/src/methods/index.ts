import type { AnyMethod } from "@lfm/core";
import { average } from "./average.js";
import { ensemble } from "./ensemble.js";
import { taskArithmetic } from "./task-arithmetic.js";
import { ties } from "./ties.js";

/** Every reuse method. A new one is a file, a test, and a line here. */
export const reuseMethods: readonly AnyMethod[] = [average, ensemble, taskArithmetic, ties];
