import type { DType } from "@lfm/core";

/** Bytes of one tensor in a safetensors file. */
export interface StoredTensor {
  readonly kind: "stored";
  /** Path of the file, or the key of a handle in a browser. */
  readonly file: string;
  /** Name in the file, for messages. */
  readonly name: string;
  /** First byte, counted from the start of the file. */
  readonly position: number;
  readonly dtype: DType;
  readonly shape: readonly number[];
}

/** W + scale·(up · down), a LoRA that is merged while it is read; with a magnitude m · (W + ΔW) / ‖W + ΔW‖ (DoRA). */
export interface AdaptedTensor {
  readonly kind: "adapted";
  readonly weight: TensorSource;
  /** [r, in] */
  readonly down: StoredTensor;
  /** [out, r] */
  readonly up: StoredTensor;
  /** alpha / r, or alpha / √r for rsLoRA. */
  readonly scale: number;
  /** The weight is stored as [in, out] (GPT-2's Conv1D). */
  readonly transposed: boolean;
  /** [out]: norms are taken over the inputs of each output. */
  readonly magnitude?: StoredTensor;
}

/** b + scale·by, a bias that an adapter adds to. */
export interface ShiftedTensor {
  readonly kind: "shifted";
  readonly weight: TensorSource;
  /** Of the weight's shape. */
  readonly by: StoredTensor;
  readonly scale: number;
}

/** A matrix whose rows come from other matrices: an embedding for another vocabulary. Every row is the mean of the rows it names. */
export interface GatheredTensor {
  readonly kind: "gathered";
  readonly of: readonly TensorSource[];
  /** Row i is the mean of rows `pick[2j+1]` of `of[pick[2j]]` for j in `starts[i]..starts[i+1]`; without any it is zero. */
  readonly starts: Int32Array;
  readonly pick: Int32Array;
  readonly shape: readonly number[];
  /** Type of the matrix; default the one that holds all it comes from. */
  readonly dtype?: DType;
}

/** Where the values of one input come from. */
export type TensorSource = StoredTensor | AdaptedTensor | ShiftedTensor | GatheredTensor;

/** What a source is made of, what it changes first; nothing for bytes of a file. */
export function partsOfSource(source: TensorSource): readonly TensorSource[] {
  switch (source.kind) {
    case "stored":
      return [];
    case "adapted":
      return [source.weight, source.down, source.up, ...(source.magnitude ? [source.magnitude] : [])];
    case "shifted":
      return [source.weight, source.by];
    case "gathered":
      return source.of;
  }
}

/** What is known of a tensor from its model's data. */
export interface PlannedStatistics {
  /** Squared gradients of the tensor's shape, or the Gram matrix [in, in] of what flows into the layer. */
  readonly source: StoredTensor;
  /** Gram matrices: how the weight lies in the checkpoint. */
  readonly layout?: "out-in" | "in-out";
}

export interface PlannedInput {
  /** The model as the configuration names it. */
  readonly model: string;
  readonly source: TensorSource;
  /** Where the method reads statistics and the model's file has some for this tensor. */
  readonly statistics?: PlannedStatistics;
  /** Parameters of this model for this tensor: weight, density, … */
  readonly parameters: Readonly<Record<string, unknown>>;
}

/** One tensor of the result. */
export interface PlannedTensor {
  readonly name: string;
  readonly shape: readonly number[];
  /** dtype in the output. */
  readonly dtype: DType;
  /** Id of the method, e.g. `task-arithmetic`. */
  readonly method: string;
  /** Parameters that all models share for this tensor: lambda, t, … */
  readonly parameters: Readonly<Record<string, unknown>>;
  /** Without the base. */
  readonly models: readonly PlannedInput[];
  /** Only where the method uses one. Its own parameters are those that a listed base model has. */
  readonly base?: PlannedInput;
  /** Inputs are rounded to this type when they are read (mergekit's `dtype`); arithmetic is f32 all the same. */
  readonly workingDtype?: DType;
}

/** Everything that a merge does, decided before any weight is read. */
export interface MergePlan {
  readonly tensors: readonly PlannedTensor[];
  /** Text files written beside the weights, by name: config.json, … */
  readonly texts: Readonly<Record<string, string>>;
  /** Files copied beside the weights, by name → path: tokenizer files, … */
  readonly copies: Readonly<Record<string, string>>;
  /** Seed of the methods that draw. */
  readonly seed: number;
}
