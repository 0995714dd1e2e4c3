import type { Dim } from "./dims.js";
import type { DType, HostTensor } from "./dtype.js";
import type { ForwardContext } from "./hooks.js";
import type { Site } from "./site.js";
import type { Tensor } from "./tensor.js";

/** A tensor that still lies in a file: enough to plan with, mapped or read only when an engine wants it. */
export interface FileTensor {
  readonly dtype: DType;
  readonly shape: readonly number[];
  /** Absolute path and byte range of the raw little-endian values. */
  readonly file: { readonly path: string; readonly offset: number; readonly bytes: number };
  /** Reads the bytes. @throws {LfmError} FILE_IO */
  read(): HostTensor;
}

export type Weight = HostTensor | FileTensor;

/** Parameter name, exactly as in the Hugging Face checkpoint → weight. */
export type Weights = Readonly<Record<string, Weight>>;

/** The same tree while a graph is traced: name → f32 tensor. */
export type ParamTree = Readonly<Record<string, Tensor>>;

export interface ParamInfo {
  readonly shape: readonly number[];
  /** Dtype in the checkpoint; computation is f32. */
  readonly dtype: DType;
  /** False for buffers (running statistics) that no gradient reaches. */
  readonly trainable: boolean;
}

/** What is known of a model without its weights: enough to plan any method. */
export interface ModelInfo {
  readonly architecture: string;
  /**
   * "causal-lm" gives next-token logits, "seq2seq-lm" those of a decoder that reads an encoder's states; "encoder" hidden states and a pooled
   * vector; "classifier" class logits.
   */
  readonly task: "causal-lm" | "seq2seq-lm" | "encoder" | "classifier" | "regressor";
  /** What {@link ModelInput} it reads. */
  readonly input: "tokens" | "pixels" | "features";
  /** Architecture dimensions under their Hugging Face config names. */
  readonly config: Readonly<Record<string, unknown>>;
  readonly vocabSize?: number;
  readonly hiddenSize: number;
  readonly layers: number;
  readonly heads?: number;
  readonly classes?: number;
  readonly maxLength?: number;
  /**
   * Where a sequence grows longer than this, all of it is computed anew: its rotary positions turn otherwise from there on, and what was cached
   * was turned as short ones are (Phi-3).
   */
  readonly cacheBreak?: number;
  /**
   * Where a sequence grows longer than this, the positions of its whole batch turn by the longest one: those beside it are read otherwise than
   * alone (rotary positions of type dynamic and longrope).
   */
  readonly sharedBeyond?: number;
  /** The token that answers of a "seq2seq-lm" begin with, before anything is predicted. */
  readonly answerStart?: number;
  /** Every parameter and buffer by name. Tied parameters appear once. */
  readonly params: Readonly<Record<string, ParamInfo>>;
  /** Every place where a hook may stand, in the order of the forward pass. */
  readonly sites: readonly Site[];
}

export interface ModelInput {
  /** i32[batch, seq] */
  readonly tokens?: Tensor;
  /** f32[batch, seq, hidden], instead of tokens. */
  readonly embeddings?: Tensor;
  /** f32[batch, channels, height, width] */
  readonly pixels?: Tensor;
  /** f32[batch, features] */
  readonly features?: Tensor;
  /** i32[batch, seq] of segment ids (BERT). */
  readonly segments?: Tensor;
  /** f32[batch, past + seq]: 1 keeps a position, 0 hides it. Default all 1. */
  readonly mask?: Tensor;
  /** i32[batch, seq]. Default past + 0..seq−1. */
  readonly positions?: Tensor;
  /**
   * i32[batch, seq], from 0: the example that a token belongs to, where rows hold several. Tokens see those of their own example alone, and what
   * hooks put in front; `positions` begin anew with each. Not together with `cache`. Default: a row is one example.
   */
  readonly packed?: Tensor;
  /** Keys and values of earlier positions, one entry per layer, each f32[batch, kvHeads, past, headDim]; of a "seq2seq-lm" its decoder's. */
  readonly cache?: readonly KvPair[];
  /** What the decoder of a "seq2seq-lm" reads: the answer shifted right by one. The rest of the input, but for the cache, is its encoder's. */
  readonly decoder?: DecoderInput;
}

/** The decoder's side of an input; positions count from 0. */
export interface DecoderInput {
  /** i32[batch, target] */
  readonly tokens: Tensor;
  /** f32[batch, past + target]: 1 keeps a position, 0 hides it. Default all 1. */
  readonly mask?: Tensor;
  /** What was read of the source before: the encoder is not run, and nothing else is given to it. */
  readonly source?: ReadSource;
}

/** What the decoder of a "seq2seq-lm" sees of its source. */
export interface ReadSource {
  /** Keys and values of each decoder layer, f32[batch, kvHeads, prefix + seq, headDim]. */
  readonly cache: readonly KvPair[];
  /** f32[batch, prefix + seq] */
  readonly mask: Tensor;
}

export interface KvPair {
  readonly key: Tensor;
  readonly value: Tensor;
}

export interface Outputs {
  /** f32[batch, prefix + seq, vocab] or f32[batch, classes]; of a "seq2seq-lm" f32[batch, target, vocab], as all that follows is its decoder's. */
  readonly logits?: Tensor;
  /** f32[batch, prefix + seq, hidden] after each block, the embedding output first. */
  readonly hidden?: readonly Tensor[];
  /** f32[batch, heads, seq, past + seq] of each layer. */
  readonly attentions?: readonly Tensor[];
  /** f32[batch, hidden] */
  readonly pooled?: Tensor;
  /** Last hidden state f32[batch, prefix + seq, hidden]. */
  readonly last?: Tensor;
  /** Last hidden state of the encoder of a "seq2seq-lm", f32[batch, prefix + seq, hidden]. */
  readonly encoded?: Tensor;
  /** The new cache, past included. */
  readonly cache?: readonly KvPair[];
  /** Of a "seq2seq-lm", where the cache is wanted: what goes on from it need not read the source again. */
  readonly source?: ReadSource;
  /** New values of buffers (batch norm in train mode), by parameter name. */
  readonly buffers?: Readonly<Record<string, Tensor>>;
  /** Positions that sequence hooks put in front of the tokens (0 without prompts): outputs are longer by it. */
  readonly prefix?: Dim;
}

/** A model that can be looked into: a pure forward over named parameters with named sites. */
export interface Model {
  readonly info: ModelInfo;
  readonly params: Weights;
  /**
   * Parameters that are bound at each run instead of being compiled in, with their shapes; symbols where the size may differ. What deltas bring
   * is live: models on one base whose deltas have equal structure share a session (`compileModel`).
   */
  readonly live?: Readonly<Record<string, readonly Dim[]>>;
  /**
   * Parameters that the forward pass has in fewer bits, by name, with the f32 that it multiplies by; `params` holds them as they lie in their file.
   * They are frozen: nothing replaces them, no hook changes them.
   */
  readonly quantized?: Readonly<Record<string, () => HostTensor>>;
  /**
   * Traces the forward pass. Pure: reads only its arguments, mutates nothing.
   * @throws {LfmError} SHAPE_MISMATCH, PARAM_NOT_FOUND
   */
  forward(params: ParamTree, input: ModelInput, context: ForwardContext): Outputs;
}

/** What a black box tells of its answer. */
export type Offer = "logits" | "probabilities" | "labels";

/** A model behind an API: answers, but shows neither weights nor gradients; every call is metered. */
export interface BlackBox<Input = unknown> {
  /** Queries answered so far: one per example. */
  readonly queries: number;
  /** Queries allowed in all; a call past it throws BUDGET_EXCEEDED before any work. */
  readonly budget: number;
  readonly offers: Offer;
  /**
   * What is offered of each example, f32[batch, classes]; of labels a one-hot.
   * @throws {LfmError} BUDGET_EXCEEDED
   */
  predict(input: Input): Promise<HostTensor>;
}
