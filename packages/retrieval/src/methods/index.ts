import type { AnyMethod } from "@lfm/core";
import { approximate } from "./approximate.js";
import { bm25 } from "./bm25.js";
import { bm25f } from "./bm25f.js";
import { flat } from "./flat.js";
import { hybrid } from "./hybrid.js";
import { queryLikelihood } from "./query-likelihood.js";
import { rag } from "./rag.js";
import { rm3 } from "./rm3.js";

/** Every retrieval method. A new one is a file, a test, and a line here. */
export const retrievalMethods: readonly AnyMethod[] = [bm25, bm25f, queryLikelihood, rm3, flat, approximate, hybrid, rag];
