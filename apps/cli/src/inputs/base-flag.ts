import { Option } from "commander";

/** What `--base` takes. */
export const baseForms = ["int8"] as const;
export const baseHelp = "products with 8-bit weights and activations, outlier columns in f32";

/** `--base` of a command that uses a model as it is. */
export function baseOption(): Option {
  return new Option("--base <form>", `weights in fewer bits: ${baseHelp}`).choices(baseForms);
}
