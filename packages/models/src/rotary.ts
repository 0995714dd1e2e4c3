/**
 * Rotary positions as configs describe them: transformers 5's `rope_parameters` and the older `rope_theta`, `rope_scaling` and
 * `partial_rotary_factor`. Arithmetic is that of transformers (f32, step by step), so that far positions turn by the same angles.
 */
import {
  add,
  cast,
  constant,
  exp,
  f32,
  greater,
  LfmError,
  log,
  max,
  maximum,
  mul,
  type RotaryTables,
  rotaryTables,
  sub,
  type Tensor,
  where,
} from "@lfm/core";
import { z } from "zod";

const positive = z.number().positive();

const rotaryParameters = z.looseObject({
  rope_type: z.string().nullish(),
  type: z.string().nullish(),
  rope_theta: positive.nullish(),
  partial_rotary_factor: positive.max(1).nullish(),
  factor: positive.nullish(),
  original_max_position_embeddings: positive.nullish(),
  attention_factor: positive.nullish(),
  beta_fast: positive.nullish(),
  beta_slow: positive.nullish(),
  mscale: z.number().nullish(),
  mscale_all_dim: z.number().nullish(),
  truncate: z.boolean().nullish(),
  low_freq_factor: positive.nullish(),
  high_freq_factor: positive.nullish(),
  short_factor: z.array(positive).nullish(),
  long_factor: z.array(positive).nullish(),
});
export type RotaryParameters = z.output<typeof rotaryParameters>;

/** One of transformers' dictionaries of rotary parameters. */
export const rotaryField: z.ZodOptional<z.ZodNullable<typeof rotaryParameters>> = rotaryParameters.nullish();

/** Fields of a config whose blocks all turn alike. */
export const rotaryFields = {
  rope_parameters: rotaryField,
  rope_scaling: rotaryField,
  rope_theta: positive.nullish(),
  partial_rotary_factor: positive.max(1).nullish(),
  original_max_position_embeddings: positive.nullish(),
} as const;

type RotaryConfig = {
  readonly [K in keyof typeof rotaryFields]?: z.output<(typeof rotaryFields)[K]>;
} & { readonly max_position_embeddings: number };

export interface RotaryOptions {
  readonly architecture: string;
  readonly headDim: number;
  /** Base of the frequencies where the config has none. */
  readonly theta: number;
  /** Share of a head's dimensions that are turned where the config says nothing. Default 1. */
  readonly share?: number;
}

export interface Rotary {
  /** Factor of cosines and sines. */
  readonly scale: number;
  /** f32[turned dimensions/2]: radians per position. Where they depend on the length, it is the largest position of the batch + 1. */
  frequencies(positions: Tensor): Tensor;
  /** Longest sequence that the positions are made for. */
  readonly maxLength: number;
  /** LongRoPE: the longest sequence that is turned by the short factors. */
  readonly border?: number;
  /** See {@link ModelInfo.sharedBeyond}. */
  readonly sharedBeyond?: number;
  /** For queries and keys at positions i32[batch, seq]. */
  tables(positions: Tensor): RotaryTables;
}

/** @throws {LfmError} CONFIG_INVALID for a type that is not known, or one that lacks a parameter */
export function readRotary(config: RotaryConfig, options: RotaryOptions): Rotary {
  const scaling = config.rope_scaling && Object.keys(config.rope_scaling).length > 0 ? config.rope_scaling : undefined;
  const given = scaling ?? config.rope_parameters ?? {};
  const type = given.rope_type ?? given.type ?? "default";
  // As transformers: what stands beside the dictionary has priority.
  const original = config.original_max_position_embeddings ?? given.original_max_position_embeddings ?? config.max_position_embeddings;
  return rotary({ ...given, original_max_position_embeddings: original }, type, {
    ...options,
    maxLength: config.max_position_embeddings,
    theta: given.rope_theta ?? config.rope_theta ?? options.theta,
    share: given.partial_rotary_factor ?? config.partial_rotary_factor ?? options.share ?? 1,
  });
}

/** What a type of positions is made of: frequencies f32[dim/2] (constant, or by the positions), and a factor of cosines and sines. */
interface Made {
  readonly frequencies: readonly number[] | ((positions: Tensor) => Tensor);
  readonly scale?: number;
  readonly maxLength?: number;
  readonly border?: number;
  readonly sharedBeyond?: number;
}

interface Setting {
  readonly dim: number;
  readonly theta: number;
  readonly maxLength: number;
  readonly original: number;
  /** @throws {LfmError} CONFIG_INVALID where the parameter is missing */
  need<K extends keyof RotaryParameters>(name: K): NonNullable<RotaryParameters[K]>;
}

const types: Readonly<Record<string, (p: RotaryParameters, at: Setting) => Made>> = {
  default: (_p, { theta, dim }) => ({ frequencies: plain(theta, dim) }),
  linear: (_p, { theta, dim, need }) => ({ frequencies: plain(theta, dim).map((f) => Math.fround(f / need("factor"))) }),
  dynamic: (_p, at) => dynamic(at.need("factor"), at),
  yarn,
  llama3,
  longrope,
};

/** The most dimensions of a head. */
const MOST_DIMENSIONS = 2 ** 16;

function rotary(
  p: RotaryParameters & { readonly original_max_position_embeddings: number },
  type: string,
  { architecture, headDim, theta, share, maxLength }: Required<RotaryOptions> & { readonly maxLength: number },
): Rotary {
  const make = Object.hasOwn(types, type) ? types[type] : undefined;
  const invalid = (message: string): LfmError =>
    new LfmError("CONFIG_INVALID", `[@lfm/models] ${architecture}: rotary positions ${message}`);
  if (!make) throw invalid(`of type "${type}" are not known; there are ${Object.keys(types).join(", ")}`);
  // A table is made of these; hidden_size may be far larger than a head of any model.
  if (headDim > MOST_DIMENSIONS) throw invalid(`turn heads of ${headDim} dimensions, ${MOST_DIMENSIONS} at most`);
  const dim = Math.trunc(headDim * share);
  if (dim < 2 || dim % 2 !== 0) throw invalid(`turn pairs of dimensions, not ${dim} of ${headDim}`);
  const need: Setting["need"] = (name) => {
    const value = p[name];
    if (value === undefined || value === null) throw invalid(`of type "${type}" need "${name}"`);
    return value;
  };
  const made = make(p, { dim, theta, maxLength, original: p.original_max_position_embeddings, need });
  for (const [name, list] of Object.entries({ short_factor: p.short_factor, long_factor: p.long_factor }))
    if (list && list.length !== dim / 2) throw invalid(`have ${list.length} values of "${name}" for ${dim / 2} pairs of dimensions`);
  const { scale = 1, border, sharedBeyond } = made;
  const frequencies = (positions: Tensor): Tensor =>
    typeof made.frequencies === "function" ? made.frequencies(positions) : constant(f32(made.frequencies));
  return {
    maxLength: made.maxLength ?? maxLength,
    scale,
    ...(border === undefined ? {} : { border }),
    ...(sharedBeyond === undefined ? {} : { sharedBeyond }),
    frequencies,
    tables: (positions) => rotaryTables(positions, frequencies(positions), scale),
  };
}

/** θ^(2i/dim) for each pair of dimensions, in f32 as torch. */
function powers(theta: number, dim: number): number[] {
  return Array.from({ length: dim / 2 }, (_, i) => Math.fround(Math.fround(theta) ** Math.fround((2 * i) / dim)));
}

function plain(theta: number, dim: number): number[] {
  return powers(theta, dim).map((p) => Math.fround(1 / p));
}

/** max position + 1, f32[] */
function length(positions: Tensor): Tensor {
  return add(max(cast(positions, "f32")), 1);
}

/**
 * NTK-aware scaling by the length L of what is read: θ·(factor·L/max − (factor − 1))^(dim/(dim−2)) for L > max. transformers keeps the largest L
 * that a model has seen until it reads something shorter than max; here a pass depends on its own positions alone.
 */
function dynamic(factor: number, { theta, dim, maxLength }: Setting): Made {
  const exponents = Array.from({ length: dim / 2 }, (_, i) => (dim === 2 ? 0 : (-2 * i) / (dim - 2)));
  return {
    maxLength: Math.floor(maxLength * factor),
    sharedBeyond: maxLength,
    frequencies: (positions) => {
      const growth = sub(mul(maximum(length(positions), maxLength), factor / maxLength), factor - 1);
      return mul(constant(f32(plain(theta, dim))), exp(mul(log(growth), constant(f32(exponents)))));
    },
  };
}

/** arXiv 2309.00071 */
function yarn(p: RotaryParameters, { theta, dim, maxLength, original, need }: Setting): Made {
  const factor = p.factor === null ? maxLength / original : need("factor");
  const mscale = (by: number): number => (factor <= 1 ? 1 : 0.1 * by * Math.log(factor) + 1);
  const scale = p.attention_factor ?? (p.mscale && p.mscale_all_dim ? mscale(p.mscale) / mscale(p.mscale_all_dim) : mscale(1));
  /** The dimension whose wave turns this often within the original length. */
  const border = (turns: number): number => (dim * Math.log(original / (turns * 2 * Math.PI))) / (2 * Math.log(theta));
  const [low, high] = [border(p.beta_fast ?? 32), border(p.beta_slow ?? 1)];
  const from = Math.max((p.truncate ?? true) ? Math.floor(low) : low, 0);
  const to = Math.min((p.truncate ?? true) ? Math.ceil(high) : high, dim - 1);
  const span = from === to ? 0.001 : to - from;
  const frequencies = powers(theta, dim).map((power, i) => {
    const interpolated = Math.min(1, Math.max(0, (i - from) / span));
    return interpolated / (factor * power) + (1 - interpolated) / power;
  });
  return { frequencies, scale };
}

/** Llama 3.1: waves longer than the original context are stretched by `factor`, short ones stay, those between are mixed. */
function llama3(_p: RotaryParameters, { theta, dim, original, need }: Setting): Made {
  const [factor, low, high] = [need("factor"), need("low_freq_factor"), need("high_freq_factor")];
  const frequencies = plain(theta, dim).map((f) => {
    const wave = (2 * Math.PI) / f;
    if (wave < original / high) return f;
    if (wave > original / low) return f / factor;
    const smooth = (original / wave - low) / (high - low);
    return ((1 - smooth) * f) / factor + smooth * f;
  });
  return { frequencies };
}

/** LongRoPE (arXiv 2402.13753): a factor for every pair of dimensions; other ones where more is read than the original length. */
function longrope(p: RotaryParameters, { theta, dim, maxLength, original, need }: Setting): Made {
  const factor = p.factor ?? maxLength / original;
  const scale = p.attention_factor ?? (factor <= 1 ? 1 : Math.sqrt(1 + Math.log(factor) / Math.log(original)));
  const [short, long] = [need("short_factor"), need("long_factor")].map((list) =>
    powers(theta, dim).map((power, i) => 1 / Math.fround(Math.fround(list[i] ?? 1) * power)),
  );
  const frequencies = (positions: Tensor): Tensor =>
    where(greater(length(positions), original), constant(f32(long!)), constant(f32(short!)));
  return { scale, frequencies, border: original, sharedBeyond: original };
}
