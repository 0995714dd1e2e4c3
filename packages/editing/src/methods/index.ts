import type { AnyMethod } from "@lfm/core";
import { ftL } from "./ft-l.js";
import { rome } from "./rome.js";

/** Every editing method. A new one is a file, a test, and a line here. */
export const editingMethods: readonly AnyMethod[] = [ftL, rome];
