import { graph } from "./graph.js";
import { invertedLists } from "./inverted-lists.js";
import type { StructureKind } from "./structure.js";

/** Structures above the rows; an index without one goes through all of them. A new one is a file, a test, and a line here. */
export const structureKinds: readonly StructureKind[] = [invertedLists, graph];
