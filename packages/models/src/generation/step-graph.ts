import {
  type CompiledModel,
  type CompileOptions,
  cast,
  compileModel,
  type Dim,
  dimAdd,
  dimSub,
  type Engine,
  full,
  type Hook,
  type KvPair,
  LfmError,
  type Model,
  type ModelInput,
  type Outputs,
  type ParamTree,
  type Spec,
  slice,
  squeeze,
  sym,
  type Tensor,
  trace,
} from "@lfm/core";
import { batchSpecs, type ExampleSpecs } from "../named-batch.js";
import type { LayerShape } from "./kv-store.js";

export interface DecodingOptions extends CompileOptions {
  /** What hooks read of each sequence. */
  readonly batch?: ExampleSpecs;
}

const [batch, seq, past, source] = [sym("batch"), sym("seq"), sym("past"), sym("source")];
const tokenSpecs = { tokens: { dtype: "i32", shape: [batch, seq] }, positions: { dtype: "i32", shape: [batch, seq] } } as const;
type NamedSpecs = { readonly batch: Readonly<Record<string, Spec>> };
type PromptSpecs = { readonly tokens: Spec; readonly positions: Spec; readonly mask: Spec } & NamedSpecs;

function promptSpecs(options: DecodingOptions): PromptSpecs {
  return { ...tokenSpecs, mask: { dtype: "f32", shape: [batch, seq] }, batch: batchSpecs(options.batch) };
}

/** The head is the largest product of a small model: it reads the last position alone. */
const lastPosition: Hook = { matches: (site) => site.kind === "head", input: (x) => slice(x, 1, dimSub(x.dim(1), 1), 1) };

type KvSpec = { readonly key: Spec; readonly value: Spec };
type KvTensors = { readonly key: Tensor; readonly value: Tensor };
type SourceSpecs = { readonly tokens: Spec; readonly mask: Spec } & NamedSpecs;

type StepSpecs = NamedSpecs & {
  readonly tokens: Spec;
  readonly positions: Spec;
  /** Of the cache and the new positions. */
  readonly mask: Spec;
  readonly cache: readonly KvSpec[];
  /** Of an encoder-decoder: what was read of the source. */
  readonly source?: { readonly cache: readonly KvSpec[]; readonly mask: Spec };
};

type StepOutputs = {
  /** f32[batch, vocab] after the last position. */
  readonly logits: Tensor;
  /** Keys and values of each layer at the new positions, f32[batch, kvHeads, seq, headDim]; of a prompt those before it too. */
  readonly cache: readonly KvTensors[];
};

type SourceOutputs = {
  /** Keys and values of each decoder layer, f32[batch, kvHeads, prefix + seq, headDim]. */
  readonly cache: readonly KvTensors[];
  /** f32[batch, prefix + seq] */
  readonly mask: Tensor;
};

/** Goes on from a cache by any number of tokens. */
export type StepProgram = CompiledModel<StepSpecs, StepOutputs>;
/** Begins, with what stands in front of the tokens. */
export type PromptProgram = CompiledModel<PromptSpecs, StepOutputs>;
/** Reads the source of an encoder-decoder, once for all steps. */
export type SourceProgram = CompiledModel<SourceSpecs, SourceOutputs>;

/** What a model keeps of each position, and how many positions its deltas put in front of the tokens. */
export interface DecodingPlan {
  readonly layers: readonly LayerShape[];
  readonly prefix: number;
  /** Positions that tokens are counted behind: those in front, and those of keys that only attention sees. */
  readonly front: number;
  /** Of an encoder-decoder: what its decoder keeps of each position of the source. */
  readonly source?: readonly LayerShape[];
}

/** @throws {LfmError} CAPABILITY_MISSING for a model that predicts no tokens or keeps no cache */
export function planDecoding(model: Model, options: DecodingOptions = {}): DecodingPlan {
  const { info } = model;
  if (info.task === "seq2seq-lm") return planAnswers(model, options);
  if (info.task !== "causal-lm")
    throw new LfmError("CAPABILITY_MISSING", `[@lfm/models] generation needs a language model, ${info.architecture} is a ${info.task}`);
  let [prefix, skipped]: Dim[] = [0, 0];
  const lookAround: Hook = {
    ...lastPosition,
    input: (x, site, context) => {
      skipped = context.skipped ?? 0;
      return lastPosition.input!(x, site, context);
    },
  };
  const { output } = trace(
    promptSpecs(options),
    ({ batch: named, ...input }, params) => {
      const out = model.forward(params, input, { mode: "eval", hooks: [lookAround], want: { cache: true }, batch: named });
      prefix = out.prefix ?? 0;
      return outputsOf(model, out);
    },
    model.params,
  );
  if (typeof prefix !== "number" || typeof skipped !== "number")
    throw new LfmError(
      "CAPABILITY_MISSING",
      `[@lfm/models] generation: the length of what stands in front of the tokens (${prefix}, ${skipped}) must be fixed`,
    );
  return { prefix, front: prefix + skipped, layers: output.cache.map(shapeOf) };
}

/** What stands in front of a source is part of what was read of it; in front of an answer nothing does. */
function planAnswers(model: Model, options: DecodingOptions): DecodingPlan {
  const { output } = trace(
    sourceSpecs(options),
    ({ batch: named, ...input }, params) => {
      const { cache, source } = readSource(model, params, input, named);
      return { own: cache, source: source.cache };
    },
    model.params,
  );
  return { prefix: 0, front: 0, layers: output.own.map(shapeOf), source: output.source.map(shapeOf) };
}

function shapeOf({ key }: KvTensors): LayerShape {
  return { kvHeads: key.dim(1) as number, headDim: key.dim(3) as number };
}

function sourceSpecs(options: DecodingOptions): SourceSpecs {
  return { tokens: tokenSpecs.tokens, mask: { dtype: "f32", shape: [batch, seq] }, batch: batchSpecs(options.batch) };
}

/** One position of an answer, whose token is looked at by nobody, and what the decoder sees of the source. */
function readSource(
  model: Model,
  params: ParamTree,
  input: Pick<ModelInput, "tokens" | "mask">,
  named: Readonly<Record<string, Tensor>>,
): { readonly cache: readonly KvTensors[]; readonly source: SourceOutputs } {
  const tokens = cast(full([batch, 1], 0), "i32");
  const out = model.forward(params, { ...input, decoder: { tokens } }, { mode: "eval", want: { cache: true }, batch: named });
  const { cache, source } = out;
  if (!cache || !source)
    throw new LfmError("CAPABILITY_MISSING", `[@lfm/models] ${model.info.architecture} gives no cache of keys and values`);
  return { cache: cache.map(pairOf), source: { cache: source.cache.map(pairOf), mask: source.mask } };
}

export function compileSource(engine: Engine, model: Model, options: DecodingOptions): Promise<SourceProgram> {
  return compileModel(
    engine,
    model,
    sourceSpecs(options),
    ({ batch: named, ...input }, params, at) => readSource(at, params, input, named).source,
    options,
  );
}

export function compilePrompt(engine: Engine, model: Model, options: DecodingOptions): Promise<PromptProgram> {
  return compileModel(
    engine,
    model,
    promptSpecs(options),
    ({ batch: named, ...input }, params, at) =>
      outputsOf(at, at.forward(params, input, { mode: "eval", hooks: [lastPosition], want: { cache: true }, batch: named })),
    options,
  );
}

export function compileDecoding(engine: Engine, model: Model, plan: DecodingPlan, options: DecodingOptions): Promise<StepProgram> {
  const cache = kvSpecs(plan.layers, past);
  const mask: Spec = { dtype: "f32", shape: [batch, dimAdd(past, seq)] };
  const read = plan.source && { cache: kvSpecs(plan.source, source), mask: { dtype: "f32", shape: [batch, source] } as const };
  const specs: StepSpecs = { ...tokenSpecs, mask, cache, batch: batchSpecs(options.batch), ...(read ? { source: read } : {}) };
  return compileModel(
    engine,
    model,
    specs,
    ({ batch: named, source: read, ...input }, params, at) => {
      const { tokens, mask, cache } = input;
      const given: ModelInput = read ? { cache, decoder: { tokens, mask, source: read } } : input;
      const out = at.forward(params, given, { mode: "eval", hooks: [lastPosition], want: { cache: true }, batch: named });
      const { logits, cache: joined } = outputsOf(at, out);
      const fresh = joined.map(({ key, value }, i) => ({
        key: appended(key, input.cache[i]!.key),
        value: appended(value, input.cache[i]!.value),
      }));
      return { logits, cache: fresh };
    },
    options,
  );
}

function kvSpecs(layers: readonly LayerShape[], length: Dim): readonly KvSpec[] {
  return layers.map(({ kvHeads, headDim }) => {
    const spec: Spec = { dtype: "f32", shape: [batch, kvHeads, length, headDim] };
    return { key: spec, value: spec };
  });
}

/** What was joined to the cache: read where it was made, so that the joined tensor need not be computed. */
function appended(joined: Tensor, before: Tensor): Tensor {
  const { op, inputs } = joined.node;
  if (op.name === "concat" && inputs.length === 2 && inputs[0] === before) return inputs[1]!;
  return slice(joined, 2, before.dim(2), dimSub(joined.dim(2), before.dim(2)));
}

function outputsOf(model: Model, { logits, cache }: Outputs): StepOutputs {
  if (!cache || !logits)
    throw new LfmError("CAPABILITY_MISSING", `[@lfm/models] ${model.info.architecture} gives no cache of keys and values`);
  const last = squeeze(slice(logits, 1, dimSub(logits.dim(1), 1), 1), 1);
  return { logits: last, cache: cache.map(pairOf) };
}

function pairOf({ key, value }: KvPair): KvTensors {
  return { key, value };
}
