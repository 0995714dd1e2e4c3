import { z } from "zod";

/** Options of methods in which a model writes what is learned. */
export const writingFields = {
  maxNewTokens: z.number().int().positive().default(128).describe("tokens of what is written, at most"),
  opening: z
    .number()
    .int()
    .positive()
    .default(8)
    .describe("where all tokens of an example are learned and none is a prompt: its first tokens that stand as one"),
};
