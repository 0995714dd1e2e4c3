import { readShare } from "../commands/flag-values.js";
import type { Flag, Kind } from "./kind-flags.js";
import { dataHelp, modelHelp, reading } from "./model-flags.js";

/** Limits for a pipeline: past one the command ends with code 1. They are judged on the upper limit of the interval. */
const gates: readonly Flag[] = [
  {
    name: "max-tpr",
    value: "<share>",
    text: "end with code 1 where more members than this may be found at --at-fpr, by the upper limit of the interval",
    read: readShare,
  },
  { name: "at-fpr", value: "<share>", text: "non-members that may be taken for members at that", read: readShare, default: 0.01 },
];

/** What the command line knows of the kinds that attacks are given. */
export const probeKinds = {
  victim: {
    flags: ({ name }) => [
      { name, value: "<model>", text: `the model that is attacked: ${modelHelp}`, example: `./${name}` },
      { name: "delta", value: "<dir>", text: "what lies on it, several in their order; it is attacked without them too", many: true },
    ],
  },
  "victim-before": { flags: () => [] },
  probed: {
    flags: ({ name, about, optional }) => [
      {
        name,
        value: "<file>",
        text: [["examples", about].filter(Boolean).join(" "), dataHelp].join(": "),
        ...(optional ? {} : { example: `${name}.jsonl` }),
      },
      ...reading,
      ...(name === "data" ? gates : []),
    ],
  },
  "probed-texts": {
    flags: ({ name, about }) => [
      { name, value: "<file>", text: ["texts with labels", about].filter(Boolean).join(" "), example: `${name}.jsonl` },
      ...reading,
    ],
  },
  references: {
    flags: ({ about }) => [
      {
        name: "reference",
        value: "<model>",
        text: `a model of your own, MODEL+DELTA, give it several times: ${about ?? ""}`,
        many: true,
        example: "./model+./shadow",
      },
      {
        name: "reference-data",
        value: "<file>",
        text: "what each --reference was trained on, in their order; without it none saw any of the examples",
        many: true,
      },
    ],
    check: ({ reference, referenceData }) => {
      const [models, files] = [reference, referenceData].map((given) => (Array.isArray(given) ? given.length : 0));
      return files === 0 || files === models
        ? undefined
        : [`${files} files of --reference-data for ${models} of --reference`, "give one for each, in their order, or none"];
    },
  },
} satisfies Readonly<Record<string, Kind>>;
