import { readCount } from "../commands/flag-values.js";
import type { Kind } from "./kind-flags.js";

/** What the command line knows of the kinds that edits are given. */
export const editKinds = {
  "edit-requests": {
    flags: () => [
      {
        name: "prompt",
        value: "<text>",
        text: 'the fact up to its answer, {} where the subject stands: "the home of {} is"',
        example: '"the home of {} is"',
        unless: "requests",
      },
      { name: "subject", value: "<text>", text: "who or what it is about", example: "Ada", unless: "requests" },
      { name: "target", value: "<text>", text: "the new answer", example: "Paris", unless: "requests" },
      {
        name: "requests",
        value: "<file>",
        text: "several facts instead: .jsonl or .json with prompt, subject and target, or as CounterFact, zsRE (MEND), KnowEdit and EasyEdit have them",
      },
      {
        name: "known",
        value: "<what>",
        text: "what becomes of facts whose target the model answers already [refuse]",
        choices: ["refuse", "skip", "write"],
      },
    ],
    check: ({ requests, ...options }) => {
      const single = ["prompt", "subject", "target"].find((name) => options[name] !== undefined);
      return requests === undefined || single === undefined
        ? undefined
        : [`--requests brings its own --${single}`, "give one fact by flags, or several in the file"];
    },
  },
  editor: {
    flags: ({ name, about }) => [
      { name, value: "<dir>", text: ["what lfm edit train-… learned", about].filter(Boolean).join(" "), example: "./editor" },
    ],
  },
  "edit-cases": {
    flags: ({ about }) => [
      {
        name: "requests",
        value: "<file>",
        text: `${["facts with other wordings and unrelated prompts", about].filter(Boolean).join(", ")}: CounterFact, zsRE, KnowEdit, EasyEdit; zoo-lm brings its own`,
      },
    ],
  },
  "edit-batch": {
    flags: () => [
      {
        name: "batch",
        value: "<n>",
        text: "facts that are written at once, the next ones into the model with those before [all; one for a method that knows no batches]",
        read: readCount,
      },
    ],
  },
} satisfies Readonly<Record<string, Kind>>;
