import type { AnyMethod } from "@lfm/core";
import { distillationMethods } from "@lfm/distillation";
import { editingMethods } from "@lfm/editing";
import { metaMethods } from "@lfm/meta";
import { retrievalMethods } from "@lfm/retrieval";
import { reuseMethods } from "@lfm/reuse";
import { tuningMethods } from "@lfm/tuning";

export { scenarios } from "./scenarios/index.js";

/** Every method of the platform. */
export const methods: readonly AnyMethod[] = [
  ...tuningMethods,
  ...retrievalMethods,
  ...distillationMethods,
  ...reuseMethods,
  ...metaMethods,
  ...editingMethods,
];
