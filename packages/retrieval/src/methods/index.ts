import type { AnyMethod } from "@lfm/core";
import { bm25 } from "./bm25.js";
import { flat } from "./flat.js";
import { hybrid } from "./hybrid.js";
import { rag } from "./rag.js";

/** Every retrieval method. A new one is a file, a test, and a line here. */
export const retrievalMethods: readonly AnyMethod[] = [bm25, flat, hybrid, rag];
