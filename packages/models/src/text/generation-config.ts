import { existsSync } from "node:fs";
import { join } from "node:path";
import { LfmError } from "@lfm/core";
import { readJsonObject } from "@lfm/formats";
import { z } from "zod";

const count = z.int().nonnegative();
const idList = z.array(count);

/** What is read of generation_config.json; null is "not said", as transformers writes it. */
const schema = z.looseObject({
  eos_token_id: z.union([count, idList]).nullish(),
  bos_token_id: count.nullish(),
  pad_token_id: z.int().nullish(),
  decoder_start_token_id: count.nullish(),
  do_sample: z.boolean().nullish(),
  temperature: z.number().nonnegative().nullish(),
  top_k: count.nullish(),
  top_p: z.number().positive().max(1).nullish(),
  min_p: z.number().min(0).max(1).nullish(),
  repetition_penalty: z.number().positive().nullish(),
  no_repeat_ngram_size: count.nullish(),
  suppress_tokens: idList.nullish(),
  begin_suppress_tokens: idList.nullish(),
  min_new_tokens: count.nullish(),
  min_length: count.nullish(),
  max_new_tokens: count.nullish(),
  max_length: count.nullish(),
  num_beams: count.nullish(),
  length_penalty: z.number().nullish(),
  early_stopping: z.union([z.boolean(), z.literal("never")]).nullish(),
  stop_strings: z.union([z.string(), z.array(z.string())]).nullish(),
});

/** generation_config.json as it stands, checked as far as it is read. */
export type GenerationConfig = z.output<typeof schema>;

/** @returns what generation_config.json of a folder says, undefined where there is none. @throws {LfmError} FILE_IO, FILE_FORMAT naming the key */
export function readGenerationConfig(folder: string): GenerationConfig | undefined {
  const path = join(folder, "generation_config.json");
  if (!existsSync(path)) return undefined;
  const parsed = schema.safeParse(readJsonObject(path));
  if (parsed.success) return parsed.data;
  throw new LfmError("FILE_FORMAT", `[@lfm/models] ${path}: ${z.prettifyError(parsed.error)}`, { cause: parsed.error });
}

/** Settings that change what transformers generates and that are not known here, with a test of the values that change nothing. */
const unknown: Readonly<Record<string, (value: unknown) => boolean>> = {
  guidance_scale: (v) => v === 1,
  sequence_bias: isEmpty,
  bad_words_ids: isEmpty,
  forced_bos_token_id: () => false,
  forced_eos_token_id: () => false,
  exponential_decay_length_penalty: () => false,
  token_healing: (v) => v === false,
  watermarking_config: () => false,
  num_return_sequences: (v) => v === 1,
  num_beam_groups: (v) => v === 1,
  diversity_penalty: (v) => v === 0,
  constraints: isEmpty,
  force_words_ids: isEmpty,
  penalty_alpha: (v) => v === 0,
  dola_layers: () => false,
  max_time: () => false,
  cache_implementation: (v) => v !== "quantized",
};

/** The same, where tokens are drawn. */
const unknownOfSampling: typeof unknown = {
  typical_p: (v) => v === 1,
  epsilon_cutoff: (v) => v === 0 || v === 1,
  eta_cutoff: (v) => v === 0 || v === 1,
  top_h: () => false,
};

/** The same, of a beam search. */
const unknownOfBeams: typeof unknown = {
  early_stopping: (v) => v !== "never",
  renormalize_logits: (v) => v === false,
};

function isEmpty(value: unknown): boolean {
  return typeof value === "object" && value !== null && Object.keys(value).length === 0;
}

/** How tokens are chosen. */
export interface ChoiceOfTokens {
  readonly sampling: boolean;
  readonly beams: boolean;
}

/**
 * Refuses by name what would change the continuation and is not known here.
 * @throws {LfmError} CAPABILITY_MISSING
 */
export function requireKnown(config: GenerationConfig, { sampling, beams }: ChoiceOfTokens): void {
  const tests = { ...unknown, ...(sampling ? unknownOfSampling : {}), ...(beams ? unknownOfBeams : {}) };
  const key = Object.keys(tests).find((k) => config[k] !== undefined && config[k] !== null && !tests[k]!(config[k]));
  if (key === undefined) return;
  const elsewise = key in unknownOfSampling ? ", or take the most likely tokens: temperature 0" : "";
  throw new LfmError(
    "CAPABILITY_MISSING",
    `[@lfm/models] generation_config.json asks for ${key} ${JSON.stringify(config[key])}, which is not known here`,
    { hint: `take "${key}" out of generation_config.json${elsewise}` },
  );
}
