import type { AnyMethod } from "@lfm/core";
import type { MergeMethod } from "../merging/define-merge.js";
import { adaMerging } from "./ada-merging.js";
import { average } from "./average.js";
import { dare } from "./dare.js";
import { ensemble } from "./ensemble.js";
import { fisher } from "./fisher.js";
import { passthrough } from "./passthrough.js";
import { regmean } from "./regmean.js";
import { slerp } from "./slerp.js";
import { taskArithmetic } from "./task-arithmetic.js";
import { ties } from "./ties.js";

/** Every method that merges tensor by tensor, over files too. */
export const mergeMethods: readonly MergeMethod[] = [average, dare, passthrough, slerp, taskArithmetic, ties];

/** Every reuse method. A new one is a file, a test, and a line here or above. */
export const reuseMethods: readonly AnyMethod[] = [...mergeMethods, adaMerging, ensemble, fisher, regmean];
