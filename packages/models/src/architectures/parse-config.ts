import { LfmError, type Model, type Weights } from "@lfm/core";
import { z } from "zod";

/** Makes a model of one architecture. */
export type Build<C> = (config: C, weights?: Weights) => Model;

/** A config as it comes out of a file. */
export type UncheckedConfig = Readonly<Record<string, unknown>>;

/** The config with its defaults. @throws {LfmError} CONFIG_INVALID naming the architecture, every wrong field and what is wrong with it */
export function parseConfig<S extends z.ZodType>(architecture: string, schema: S, config: unknown): z.output<S> {
  const parsed = schema.safeParse(config);
  if (parsed.success) return parsed.data;
  const issues = parsed.error.issues.map((i) => `${i.path.length > 0 ? i.path.join(".") : "config"}: ${i.message}`);
  throw new LfmError("CONFIG_INVALID", `[@lfm/models] ${architecture}: ${issues.join("; ")}`, { details: { architecture, issues } });
}

/** A config's dropout rate: transformers' own default stands where the file has none. */
export function dropoutRate(byDefault: number): z.ZodDefault<z.ZodNumber> {
  return z.number().min(0).lt(1).default(byDefault);
}

/**
 * A field of which one value is computed here; every other would change the result and is refused by name. A field that is missing or null is
 * what transformers takes it for.
 */
export function only<const T extends string | number | boolean | null>(value: T): z.ZodOptional<z.ZodNullable<z.ZodLiteral<T>>> {
  const error = ({ input }: { readonly input?: unknown }): string =>
    `${JSON.stringify(input)} is not known; only ${JSON.stringify(value)} is`;
  return z.literal(value, { error }).nullish();
}

/**
 * Fields of transformers' config classes that change no result of what is built here: how weights begin, what is cached, ids that belong to the
 * tokenizer, heads that are other models. With these a schema names every field of its class, so that none is passed over unread
 * (`architectures.config.test.ts` holds the schemas against transformers' own lists).
 */
export function neutral<const K extends string>(...names: readonly K[]): Record<K, z.ZodOptional<z.ZodUnknown>> {
  return Object.fromEntries(names.map((name) => [name, z.unknown().optional()])) as Record<K, z.ZodOptional<z.ZodUnknown>>;
}

/** The token whose embedding no gradient reaches, where a class reads it at all. */
export const paddingToken: z.ZodNullable<z.ZodNumber> = z.number().int().nullable();

/** What all of transformers' classes have. */
export const commonFields = {
  architectures: z.array(z.string()).nullish(),
  num_labels: z.number().int().positive().nullish(),
  id2label: z.record(z.string(), z.string()).nullish(),
  /** Weights in other forms than floats, under other names. */
  quantization_config: only(null),
  /** Blocks that are unlike each other. */
  per_layer_config: only(null),
  pad_token_id: paddingToken.optional(),
  ...neutral(
    "transformers_version",
    "dtype",
    "torch_dtype",
    "output_hidden_states",
    "output_attentions",
    "return_dict",
    "chunk_size_feed_forward",
    "is_encoder_decoder",
    "label2id",
    "problem_type",
    "initializer_range",
    "use_cache",
    "bos_token_id",
    "eos_token_id",
  ),
} as const;
