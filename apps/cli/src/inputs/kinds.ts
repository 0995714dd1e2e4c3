import type { InputKindName } from "@lfm/core";
import { type FieldInput, isRead } from "@lfm/core/method-inputs";
import { readCount, readList } from "../commands/flag-values.js";
import type { VerbOptions } from "../program/job.js";
import { baseForms, baseHelp } from "./base-flag.js";
import { editKinds } from "./edit-kinds.js";
import type { Flag, Kind } from "./kind-flags.js";
import { dataHelp, modelHelp, reading } from "./model-flags.js";
import { probeKinds } from "./probe-kinds.js";
import { studentKind } from "./student-kind.js";

const preferencesHelp = "for --objective prompt + chosen + rejected, or prompt + completion + label";

/** How the frozen weights of a model that learns are held. */
const baseFlag: Flag = { name: "base", value: "<form>", text: `frozen weights in fewer bits: ${baseHelp}`, choices: baseForms };

const none: Kind = { flags: () => [] };
const oneModel: Kind = {
  flags: ({ name, about }) => [{ name, value: "<model>", text: [about, modelHelp].filter(Boolean).join(": "), example: `./${name}` }],
};
const severalModels: Kind = {
  flags: () => [
    { name: "model", value: "<model>", text: `a model, give it several times: ${modelHelp}`, many: true, example: "./a --model ./b" },
  ],
};
const severalAdapters = (check?: Kind["check"]): Kind => ({
  flags: ({ about }) => [
    {
      name: "adapter",
      value: "<dir>",
      text: `${about ? `adapters ${about}` : "a LoRA that lfm tune or PEFT wrote"}; give it several times`,
      many: true,
      example: "./a --adapter ./b",
    },
  ],
  ...(check ? { check } : {}),
});
const files = (many: string, example: string, check?: Kind["check"]): Kind => ({
  flags: ({ about }) => [
    { name: "data", value: "<file>", text: [many, about, dataHelp].filter(Boolean).join(": "), many: true, example },
    ...reading,
  ],
  ...(check ? { check } : {}),
});
const examplesFile = (name: string, example?: string): Kind => ({
  flags: ({ about }) => [
    { name, value: "<file>", text: ["examples", about].filter(Boolean).join(" "), ...(example === undefined ? {} : { example }) },
  ],
});
const filePerModel = files("examples of a model's task, one file for each --model, in their order", "a.jsonl --data b.jsonl", (options) => {
  const [models, data] = [listOf(options.model), listOf(options.data)];
  if (data.length === 0 || data.length === models.length) return undefined;
  return [
    `${data.length} files of examples for ${models.length} models; one for each, in their order`,
    models.map((m) => `--data ${m.replace(/^.*\//, "").replaceAll(/[^\w.-]/g, "-")}.jsonl`).join(" "),
  ];
});
const fileForAll = files("examples; give it several times", "examples.jsonl");

/** A delta lies on the model as it is in its folder. */
function wholeBase(options: VerbOptions, inputs: readonly FieldInput[]): readonly [string, string] | undefined {
  const first = inputs.find((i) => i.kind === "model" || i.kind === "learner");
  const name = first && options[optionOf(first.name)];
  if (typeof name !== "string" || !name.includes("+")) return undefined;
  return [
    `what it makes lies on --${first!.name}, and ${name} is no folder that it could lie on`,
    `lfm merge passthrough --model ${name} ./base, then --${first!.name} ./base`,
  ];
}

/** One entry for each kind: with a method's declaration its flags are known. */
export const kinds: Readonly<Record<InputKindName, Kind>> = {
  model: oneModel,
  learner: {
    flags: (input) => [
      ...oneModel.flags(input),
      {
        name: "valid",
        value: "<file>",
        text: "held-out examples: their loss and accuracy are reported; with --valid-every they choose the state",
      },
      baseFlag,
    ],
  },
  student: studentKind,
  weights: oneModel,
  models: severalModels,
  "named-weights": severalModels,
  members: {
    flags: () => [
      {
        name: "member",
        value: "<model>",
        text: "instead of --model, several times: models that answer together; MODEL+DELTA for one with a delta",
        many: true,
        example: "./a --member ./b",
      },
    ],
  },
  "prompt-box": {
    flags: (input) => [
      ...oneModel.flags(input),
      { name: "queries", value: "<n>", text: "rows that it answers in all [as many as are asked]", read: readCount },
    ],
  },
  parent: { ...none, check: wholeBase },
  "model-name": none,
  "parameter-names": {
    flags: ({ name, about }) => [{ name, value: "<a,b,…>", text: ["parameters", about].filter(Boolean).join(" "), read: readList }],
  },
  "fresh-parameters": none,
  "item-shape": none,
  "text-rules": none,
  "logit-cache": {
    flags: ({ name }) => [
      {
        name,
        value: "<dir>",
        text: "keeps the teacher's answers there: a second epoch, or student, asks it nothing",
        example: "./answers",
      },
    ],
    check: ({ cache, cacheTopK, cacheDtype }) =>
      cache === undefined && (cacheTopK !== undefined || cacheDtype !== undefined)
        ? ["--cache-top-k and --cache-dtype say how answers are kept, and none are", "--cache ./answers"]
        : undefined,
  },
  answers: none,
  delta: { flags: ({ name, about }) => [{ name, value: "<dir>", text: ["what lfm tune wrote", about].filter(Boolean).join(" ") }] },
  // --valid belongs to the model that learns.
  validation: none,
  replay: examplesFile("replay", "old.jsonl"),
  retained: examplesFile("retained"),
  deltas: severalAdapters(wholeBase),
  adapters: severalAdapters(),
  fishers: measuredOfEach("fisher"),
  grams: measuredOfEach("gram"),
  fisher: {
    flags: ({ about }) => [
      {
        name: "fisher",
        value: "<file>",
        text: ["what lfm stats fisher took of the model", about].filter(Boolean).join(" "),
        example: "fisher.safetensors",
      },
    ],
  },
  gram: {
    flags: ({ about }) => [
      { name: "statistics", value: "<file>", text: ["what lfm stats gram took of the model", about].filter(Boolean).join(", ") },
    ],
  },
  task: {
    flags: ({ about, options }) => [
      {
        name: "data",
        value: "<file>",
        text: [[about ?? "examples", dataHelp].join(": "), ...(options ? [preferencesHelp] : [])].join("; "),
        example: "examples.jsonl",
      },
      {
        name: "regression",
        value: "",
        text: "labels are values that an encoder learns by squared error (text + score), no names of classes",
      },
      ...reading,
    ],
  },
  demonstrations: {
    flags: ({ about }) => [
      { name: "data", value: "<file>", text: [about ?? "examples that are shown", dataHelp].join(": "), example: "examples.jsonl" },
      ...reading,
    ],
  },
  choices: {
    flags: ({ about }) => [
      {
        name: "data",
        value: "<file>",
        text: [about ?? "examples with one of a few answers", dataHelp].join(": "),
        example: "examples.jsonl",
      },
      ...reading,
    ],
  },
  "task-probes": filePerModel,
  "expert-prompts": filePerModel,
  examples: fileForAll,
  score: fileForAll,
  "held-out": {
    flags: ({ about }) => [
      { name: "held-out", value: "<file>", text: `labelled examples ${about ?? ""}`.trim(), example: "dev.jsonl" },
      ...reading,
    ],
  },
  "episode-learner": none,
  "episode-task": none,
  "episode-ways": none,
  episodes: {
    flags: () => [
      { name: "family", value: "<name>", text: "family of tasks", choices: ["sinusoid", "glyphs", "omniglot"], default: "sinusoid" },
      {
        name: "data",
        value: "<path>",
        text: "classes of your own, instead: a folder with a folder of .png or .txt files for each, or a .csv, .tsv or .jsonl with label and text, or label and numbers",
      },
      { name: "unseen", value: "<path>", text: "classes to be measured on, of that form [a fifth of --data's]" },
      { name: "encoder", value: "<model>", text: "frozen sentence encoder that reads texts: a folder, or org/name on the hub" },
      { name: "size", value: "<n>", text: "side that pictures are brought to, pixels", read: readCount, default: 28 },
      { name: "ways", value: "<n>", text: "classes per episode", read: readCount, default: 5 },
      { name: "shots", value: "<n>", text: "examples per class (or points)", read: readCount },
      { name: "tasks", value: "<n>", text: "episodes per step", read: readCount, default: 4 },
    ],
  },
  ...editKinds,
  previous: {
    flags: ({ about }) => [
      {
        name: "delta",
        value: "<dir>",
        text: `${["deltas that lie below", about].filter(Boolean).join(": ")}; several in their order`,
        many: true,
      },
    ],
  },
  "key-corpus": {
    flags: ({ about }) => [
      {
        name: "corpus",
        value: "<file>",
        text: `${["texts", about].filter(Boolean).join(" ")}: a line each, or .jsonl, .csv, .tsv; zoo-lm brings its own`,
      },
    ],
  },
  passages: {
    flags: () => [
      {
        name: "documents",
        value: "<path>",
        text: "a .jsonl, .csv or .tsv with text (and id, title), or a BEIR folder",
        example: "documents.jsonl",
      },
    ],
  },
  queries: {
    flags: ({ about }) => [
      {
        name: "queries",
        value: "<path>",
        text: `${about ?? "queries"}: a .jsonl, .csv or .tsv with text (and id), or a BEIR folder`,
        example: "queries.jsonl",
      },
    ],
  },
  "text-encoder": {
    flags: ({ name }) => [
      {
        name,
        value: "<model>",
        text: "a sentence encoder: a Hugging Face folder, or org/name on the hub",
        example: "sentence-transformers/all-MiniLM-L6-v2",
      },
    ],
  },
  run: {
    flags: ({ name }) => [{ name, value: "<file>", text: "what a search found, as TREC writes it", example: `${name}.trec` }],
  },
  retriever: {
    flags: () => [{ name: "index", value: "<dir>", text: "folder that lfm index wrote", example: "./index" }],
  },
  answerer: {
    flags: () => [
      { name: "model", value: "<model>", text: `answers the prompts: ${modelHelp}`, example: "./model" },
      { name: "max-new-tokens", value: "<n>", text: "tokens of an answer at most", read: readCount, default: 32 },
    ],
  },
  ...probeKinds,
};

/** The flags of all inputs; one that several of them have stands once. */
function measuredOfEach(what: string): Kind {
  const text = `what lfm stats ${what} wrote, a file for each --model, in their order`;
  return { flags: () => [{ name: "statistics", value: "<file>", text, many: true }] };
}

export function flagsOf(inputs: readonly FieldInput[]): readonly Flag[] {
  const flags = new Map<string, Flag>();
  for (const input of inputs) for (const flag of kinds[input.kind].flags(input)) if (!flags.has(flag.name)) flags.set(flag.name, flag);
  return [...flags.values()];
}

/** What has to be typed at least, after the name of the method. */
export function usageOf(inputs: readonly FieldInput[]): string {
  const must = inputs.filter((i) => !i.optional && !i.when);
  return flagsOf(must)
    .filter((f) => f.example !== undefined)
    .map((f) => `--${f.name} ${f.example}`)
    .join(" ");
}

/**
 * Whether everything is given that is read under these options, and nothing that is not: before any work.
 * @throws {LfmError} CONFIG_INVALID naming the flags
 */
export async function checkGiven(what: string, inputs: readonly FieldInput[], config: object, options: VerbOptions): Promise<void> {
  const { LfmError } = await import("@lfm/core");
  const [read, idle] = [inputs.filter((i) => isRead(i, config)), inputs.filter((i) => !isRead(i, config))];
  const missing = [
    ...new Set(
      read
        .filter((i) => !i.optional)
        .flatMap((i) => kinds[i.kind].flags(i))
        .filter((f) => f.example !== undefined && options[optionOf(f.name)] === undefined)
        .filter((f) => f.unless === undefined || options[optionOf(f.unless)] === undefined),
    ),
  ];
  if (missing.length > 0) {
    const names = [...new Set(missing.map((f) => `--${f.name}`))];
    throw new LfmError("CONFIG_INVALID", `${what}: ${names.join(" and ")} ${names.length > 1 ? "are" : "is"} not given`, {
      hint: `${usageOf(read.map((i) => ({ ...i, when: undefined })))}; --help shows what each stands for`,
    });
  }
  const asked = new Set(flagsOf(read).map((f) => f.name));
  for (const input of idle) {
    const given = kinds[input.kind]
      .flags(input)
      .find((f) => f.example !== undefined && !asked.has(f.name) && options[optionOf(f.name)] !== undefined);
    if (given)
      throw new LfmError("CONFIG_INVALID", `${what}: with these options it reads no --${given.name}`, {
        ...(input.hint ? { hint: input.hint } : {}),
      });
  }
  for (const input of read) {
    const wrong = kinds[input.kind].check?.(options, inputs);
    if (wrong) throw new LfmError("CONFIG_INVALID", `${what}: ${wrong[0]}`, { hint: wrong[1] });
  }
}

/** `held-out` → `heldOut`, the name under which commander hands a flag over. */
export function optionOf(flag: string): string {
  return flag.replace(/-(.)/g, (_, c: string) => c.toUpperCase());
}

function listOf(option: unknown): readonly string[] {
  return Array.isArray(option) ? option : [];
}
