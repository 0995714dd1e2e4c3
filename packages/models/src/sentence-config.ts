import { existsSync } from "node:fs";
import { join } from "node:path";
import { LfmError } from "@lfm/core";
import { pathFlaw, readJsonFile } from "@lfm/formats";
import { z } from "zod";
import type { EncoderOptions } from "./encoder.js";
import type { Pooling } from "./pooling.js";

/** How a sentence-transformers folder wants its model used: options for createEncoder, and how its vectors are compared. */
export interface SentenceConfig extends Pick<EncoderOptions, "pooling" | "normalize" | "maxLength" | "prompts" | "lowerCase"> {
  /** Where the folder says; cosine otherwise. */
  readonly similarity?: "cosine" | "dot" | "euclidean" | "manhattan";
}

const modulesSchema = z.array(z.looseObject({ path: z.string(), type: z.string() }));
const transformerSchema = z.looseObject({
  max_seq_length: z.int().positive().nullish(),
  do_lower_case: z.boolean().nullish(),
});
const tokenizerSchema = z.looseObject({ model_max_length: z.number().nullish() });
const wholeSchema = z.looseObject({
  prompts: z.record(z.string(), z.string().nullable()).nullish(),
  default_prompt_name: z.string().nullish(),
  similarity_fn_name: z.enum(["cosine", "dot", "euclidean", "manhattan"]).nullish(),
});
const poolingSchema = z.looseObject({
  pooling_mode: z.union([z.string(), z.array(z.string())]).nullish(),
  include_prompt: z.boolean().nullish(),
});

/** Poolings by their names in configs of sentence-transformers 6; the order is that in which several are put side by side. */
const poolings: Readonly<Record<string, Pooling>> = {
  cls: "cls",
  max: "max",
  mean: "mean",
  mean_sqrt_len_tokens: "mean-sqrt-len",
  weightedmean: "weighted-mean",
  lasttoken: "last-token",
};

/** The switches that older configs have in their place. */
const switches: Readonly<Record<string, Pooling>> = {
  pooling_mode_cls_token: "cls",
  pooling_mode_max_tokens: "max",
  pooling_mode_mean_tokens: "mean",
  pooling_mode_mean_sqrt_len_tokens: "mean-sqrt-len",
  pooling_mode_weightedmean_tokens: "weighted-mean",
  pooling_mode_lasttoken: "last-token",
};

/** Prompts of documents, the first that is there. */
const DOCUMENT = ["document", "passage", "corpus"];
/** A tokenizer without a limit says so by a larger number. */
const NO_LIMIT = 1e6;

/**
 * Reads modules.json, sentence_bert_config.json, the pooling's own config.json, config_sentence_transformers.json and, where the second names no
 * length, tokenizer_config.json. Undefined for a folder that is none of sentence-transformers'.
 * @throws {LfmError} CONFIG_INVALID for modules, poolings and prompts that are not known here, FILE_FORMAT
 */
export function readSentenceConfig(folder: string): SentenceConfig | undefined {
  const modules = readChecked(join(folder, "modules.json"), modulesSchema);
  if (!modules) return undefined;
  const kinds = modules.map((m) => m.type.split(".").at(-1)!);
  const unknown = kinds.find((k) => k !== "Transformer" && k !== "Pooling" && k !== "Normalize");
  if (unknown) throw new LfmError("CONFIG_INVALID", `[@lfm/models] ${folder}: the sentence module "${unknown}" is not known`);
  const at = modules.find((_, i) => kinds[i] === "Pooling");
  const flaw = at && at.path !== "" ? pathFlaw(at.path) : undefined;
  if (flaw !== undefined) throw new LfmError("CONFIG_INVALID", `[@lfm/models] ${folder}: modules.json: the path "${at!.path}" ${flaw}`);
  const path = at && join(folder, at.path, "config.json");
  const asked = path === undefined ? undefined : readChecked(path, poolingSchema);
  const transformer = readChecked(join(folder, "sentence_bert_config.json"), transformerSchema);
  const { similarity_fn_name: similarity, ...whole } = readChecked(join(folder, "config_sentence_transformers.json"), wholeSchema) ?? {};
  const prompts = promptsOf(whole, folder);
  if (prompts && asked?.include_prompt === false)
    throw new LfmError("CONFIG_INVALID", `[@lfm/models] ${path}: a pooling without the prompt's tokens (include_prompt) is not known`);
  const length = transformer?.max_seq_length ?? readChecked(join(folder, "tokenizer_config.json"), tokenizerSchema)?.model_max_length;
  return {
    pooling: path === undefined ? "cls" : poolingOf(asked ?? {}, path),
    normalize: kinds.includes("Normalize"),
    ...(length && length <= NO_LIMIT ? { maxLength: length } : {}),
    ...(prompts ? { prompts } : {}),
    ...(transformer?.do_lower_case ? { lowerCase: true } : {}),
    ...(similarity ? { similarity } : {}),
  };
}

/** As sentence-transformers reads it: without a word it takes the mean, several are put side by side. */
function poolingOf(config: z.output<typeof poolingSchema>, path: string): Pooling | readonly Pooling[] {
  const named = config.pooling_mode == null ? undefined : [config.pooling_mode].flat();
  const on = Object.keys(config).filter((key) => key.startsWith("pooling_mode_") && config[key] === true);
  const odd =
    named?.find((name) => !Object.hasOwn(poolings, name)) ?? (named ? undefined : on.find((key) => !Object.hasOwn(switches, key)));
  if (odd !== undefined)
    throw new LfmError("CONFIG_INVALID", `[@lfm/models] ${path}: the pooling "${odd}" is not known`, {
      hint: `there are ${Object.keys(poolings).join(", ")}`,
    });
  const found = named?.map((name) => poolings[name]!) ?? Object.keys(switches).flatMap((key) => (on.includes(key) ? [switches[key]!] : []));
  return found.length > 1 ? found : (found[0] ?? "mean");
}

/**
 * What stands before queries and documents: the prompts of these names, and nothing where only the other has one; where neither has, the
 * default prompt stands before both.
 */
function promptsOf(config: z.output<typeof wholeSchema>, folder: string): EncoderOptions["prompts"] {
  const { prompts = {}, default_prompt_name: name } = config;
  const named = prompts ?? {};
  const common = name == null ? undefined : named[name];
  if (name != null && common === undefined)
    throw new LfmError("CONFIG_INVALID", `[@lfm/models] ${folder}: the default prompt "${name}" is none of its prompts`, {
      hint: `there are ${Object.keys(named).join(", ") || "none"}`,
    });
  const query = named.query ?? undefined;
  const document = DOCUMENT.map((key) => named[key] ?? undefined).find((prompt) => prompt !== undefined);
  const found =
    query === undefined && document === undefined
      ? { query: common ?? "", document: common ?? "" }
      : { query: query ?? "", document: document ?? "" };
  return found.query === "" && found.document === "" ? undefined : found;
}

function readChecked<S extends z.ZodType>(path: string, schema: S): z.output<S> | undefined {
  if (!existsSync(path)) return undefined;
  const parsed = schema.safeParse(readJsonFile(path));
  if (parsed.success) return parsed.data;
  throw new LfmError("FILE_FORMAT", `[@lfm/models] ${path} is not what sentence-transformers writes: ${z.prettifyError(parsed.error)}`, {
    cause: parsed.error,
  });
}
