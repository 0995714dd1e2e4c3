import { Option } from "commander";

/** What `--base` takes. */
export const baseForms = ["int8", "int4"] as const;
export type BaseForm = (typeof baseForms)[number];
export const baseHelp =
  "int8 (products with 8-bit weights and activations, outlier columns in f32) or int4 (blocks of 32; a GGUF's grid is kept)";

/** `--base` of a command that uses a model as it is. */
export function baseOption(): Option {
  return new Option("--base <form>", `weights in fewer bits: ${baseHelp}`).choices(baseForms);
}
