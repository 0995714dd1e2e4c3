import { readCount } from "../commands/flag-values.js";
import { columnsHelp, readColumns } from "./columns.js";
import type { Flag } from "./kind-flags.js";

/** What names a model, for the help. */
export const modelHelp = "a folder, org/name on the hub, zoo-lm; with +DELTA behind it what lfm tune wrote is put into its weights";
/** What a file of examples holds. */
export const dataHelp = ".jsonl, .csv or .tsv with text (and text2) + label, prompt + completion, or text";
/** How examples are read. */
export const reading: readonly Flag[] = [
  { name: "columns", value: "<role=column,…>", text: columnsHelp, read: readColumns },
  { name: "batch-size", value: "<n>", text: "examples at a time", read: readCount, default: 16 },
  { name: "max-length", value: "<n>", text: "tokens per example, longer ones are cut", read: readCount, default: 128 },
];
