import { LfmError } from "@lfm/core";
import { z } from "zod";

/** The version of the library whose names and defaults are written. */
export const ADAPTERS_VERSION = "adapters.1.3.0";

const scaling = z.union([z.number(), z.enum(["learned", "channel"])]);

/** Options of bottleneck adapters and of what is made of them, under the library's names and with its defaults. */
const bottleneck = z.looseObject({
  mh_adapter: z.boolean(),
  output_adapter: z.boolean(),
  cross_adapter: z.boolean().default(false),
  // A number, or one for each layer.
  reduction_factor: z.union([z.number().positive(), z.record(z.string(), z.number().positive())]),
  non_linearity: z.string(),
  original_ln_before: z.boolean().default(false),
  original_ln_after: z.boolean().default(true),
  ln_before: z.boolean().default(false),
  ln_after: z.boolean().default(false),
  init_weights: z.string().default("bert"),
  init_weights_seed: z.number().int().nullish().default(null),
  is_parallel: z.boolean().default(false),
  scaling: scaling.default(1),
  use_gating: z.boolean().default(false),
  residual_before_ln: z.union([z.boolean(), z.literal("post_add")]).default(true),
  adapter_residual_before_ln: z.boolean().default(false),
  inv_adapter: z.string().nullish(),
  inv_adapter_reduction_factor: z.number().nullish(),
  leave_out: z.array(z.number().int().nonnegative()).default([]),
  dropout: z.number().min(0).lt(1).default(0),
  phm_layer: z.boolean().default(false),
  phm_dim: z.number().int().positive().default(4),
  factorized_phm_W: z.boolean().nullish().default(true),
  shared_W_phm: z.boolean().nullish().default(false),
  shared_phm_rule: z.boolean().nullish().default(true),
  factorized_phm_rule: z.boolean().nullish().default(false),
  phm_c_init: z.string().nullish().default("normal"),
  phm_init_range: z.number().nullish().default(1e-4),
  learn_phm: z.boolean().nullish().default(true),
  hypercomplex_nonlinearity: z.string().nullish().default("glorot-uniform"),
  phm_rank: z.number().int().positive().nullish().default(1),
  phm_bias: z.boolean().nullish().default(true),
  stochastic_depth: z.number().nullish().default(0),
});
export type HubBottleneck = z.output<typeof bottleneck>;
export type HubBottleneckInput = z.input<typeof bottleneck>;

/** Options of a fusion. */
const fusion = z.looseObject({
  key: z.boolean(),
  query: z.boolean(),
  value: z.boolean(),
  query_before_ln: z.boolean().default(false),
  regularization: z.boolean().default(false),
  residual_before: z.boolean().default(false),
  temperature: z.boolean().default(false),
  value_before_softmax: z.boolean().default(true),
  value_initialized: z.union([z.boolean(), z.string()]).default(false),
  dropout_prob: z.number().nullish(),
});
export type HubFusion = z.output<typeof fusion>;

/** What stands around the options of an adapter or a fusion. */
const around = z.looseObject({
  name: z.string(),
  model_type: z.string().nullish(),
  model_name: z.string().nullish(),
  model_class: z.string().nullish(),
  hidden_size: z.number().int().positive().nullish(),
  version: z.string().nullish(),
  config: z.looseObject({}),
});
export type HubAround = Omit<z.output<typeof around>, "config">;

/** Keys of {@link HubBottleneck} that this platform knows: others are refused where they are active. */
const KNOWN: ReadonlySet<string> = new Set(Object.keys(bottleneck.shape));

/** Names that options of older versions had, with what they are now. */
const ACTIVATIONS: Readonly<Record<string, string>> = { gelu: "gelu_new", gelu_orig: "gelu" };

/** Whether an adapter_config.json is one of the library `adapters`: PEFT's has the same name, and says peft_type. */
export function isHubConfig(raw: Readonly<Record<string, unknown>>): boolean {
  return raw.peft_type === undefined && typeof raw.config === "object" && raw.config !== null;
}

/**
 * @throws {LfmError} FILE_FORMAT naming the file and the key; OP_UNSUPPORTED for adapters of another kind, and for active options that are not known
 */
export function parseHubBottleneck(path: string, raw: unknown): { readonly around: HubAround; readonly config: HubBottleneck } {
  const whole = parsed(path, around, raw);
  const kind = whole.config.architecture;
  if (typeof kind === "string" && kind !== "bottleneck")
    throw new LfmError("OP_UNSUPPORTED", `[@lfm/formats] ${path}: adapters of architecture ${kind} are not read in this form`, {
      hint: "in Python: model.save_adapter for bottleneck adapters and Compacter; LoRA and IA3 are read in PEFT's form",
    });
  const config = parsed(path, bottleneck, legacy(whole.config, whole.version));
  const active = Object.entries(config).find(([key, value]) => !KNOWN.has(key) && key !== "architecture" && isActive(value));
  if (active) throw new LfmError("OP_UNSUPPORTED", `[@lfm/formats] ${path}: the option ${active[0]} is not known here`);
  return { around: whole, config };
}

/** @throws {LfmError} FILE_FORMAT */
export function parseHubFusion(path: string, raw: unknown): { readonly around: HubAround; readonly config: HubFusion } {
  const whole = parsed(path, around, raw);
  return { around: whole, config: parsed(path, fusion, whole.config) };
}

/** Options as files of before version 1 spell them: one for the invertible part, and other names of activations. */
function legacy(config: Readonly<Record<string, unknown>>, version: string | null | undefined): Record<string, unknown> {
  const { invertible_adapter: inverse, ...rest } = config;
  const block = inverse as { readonly block_type?: unknown; readonly reduction_factor?: unknown } | null | undefined;
  const name = rest.non_linearity;
  return {
    ...rest,
    ...(block ? { inv_adapter: block.block_type, inv_adapter_reduction_factor: block.reduction_factor } : {}),
    ...(!version && typeof name === "string" && name in ACTIVATIONS ? { non_linearity: ACTIVATIONS[name] } : {}),
  };
}

function isActive(value: unknown): boolean {
  return value !== null && value !== undefined && value !== false && value !== 0 && !(Array.isArray(value) && value.length === 0);
}

function parsed<S extends z.ZodType>(path: string, schema: S, raw: unknown): z.output<S> {
  const found = schema.safeParse(raw);
  if (found.success) return found.data;
  throw new LfmError("FILE_FORMAT", `[@lfm/formats] ${path}: ${z.prettifyError(found.error)}`);
}
