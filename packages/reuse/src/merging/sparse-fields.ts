import { z } from "zod";

/** Options of merges that thin task vectors at first; in their defaults they differ. */
export const sparseFields = (defaults: { readonly consensus: "none" | "sum"; readonly normalize: boolean; readonly rescale: boolean }) => ({
  consensus: z.enum(["none", "sum"]).default(defaults.consensus).describe("none: add task vectors up; sum: elect signs as TIES"),
  lambda: z.number().default(1).describe("scale λ of the merged task vector"),
  normalize: z.boolean().default(defaults.normalize).describe("divide by the sum of weights (of those that agree)"),
  rescale: z.boolean().default(defaults.rescale).describe("scale what is left of a task vector to the L1 norm that it had"),
});

/** Of each model. */
export const sparseModelFields = {
  weight: z.number().default(1).describe("weight w of the task vector"),
  density: z.number().min(0).max(1).default(1).describe("share of entries that the task vector keeps"),
};
