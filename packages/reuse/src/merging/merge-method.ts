import type { Method, Paper, Presets, Rng } from "@lfm/core";
import type { z } from "zod";
import type { MergeInputs, MergeOutput } from "../inputs.js";
import type { PlannedTensor } from "./plan.js";
import type { TensorStatistics } from "./tensor-statistics.js";

/** A run of consecutive elements of one tensor, of every input. */
export interface MergeChunk {
  /** Index of the first element in the flattened (row-major) tensor. */
  readonly start: number;
  readonly length: number;
  /** f32 [length] of each model, in the order of {@link MergeTensor.models}; in the kernels' memory. Scratch: may be overwritten. */
  readonly models: readonly Float32Array[];
  /** f32 [length] of the base; empty where there is none. Scratch. */
  readonly base: Float32Array;
}

/** One tensor that is being merged: its inputs can be run over as often as a method likes, and are never held whole unless they are small. */
export interface MergeTensor<Shared = Readonly<Record<string, unknown>>, PerModel = Readonly<Record<string, unknown>>> {
  readonly name: string;
  readonly shape: readonly number[];
  readonly elements: number;
  readonly parameters: Shared;
  /** With the statistics of the tensor where the method reads them and the model has some. */
  readonly models: readonly { readonly name: string; readonly parameters: PerModel; readonly statistics?: TensorStatistics }[];
  readonly hasBase: boolean;
  /** Parameters of the base, where the configuration lists it among the models. */
  readonly baseParameters: PerModel | undefined;
  /** What the rounds of {@link MergeSpec.survey} found in the whole model. */
  readonly totals: readonly Float64Array[];
  /** Depends on the seed and the tensor's name only: the same bits on any number of threads, in any order. */
  readonly rng: Rng;
  /**
   * Calls `visit` on all chunks in order. Chunks start at multiples of `align` elements (default 1) and hold whole multiples of it;
   * `align` = the length of a row gives whole rows, `align` = `elements` the whole tensor at once.
   * @throws {LfmError} BUDGET_EXCEEDED when `align` elements of all inputs do not fit the memory that was granted
   */
  read(visit: (chunk: MergeChunk) => void, align?: number): void;
  /** The same, and writes: `visit` fills `out` (f32 [length]). Called once per merge. */
  write(visit: (chunk: MergeChunk, out: Float32Array) => void, align?: number): void;
}

/** What a merge method is, beside what every method is. */
export interface MergeSpec<S extends z.ZodRawShape, P extends z.ZodRawShape> {
  readonly id: string;
  readonly summary: string;
  readonly paper: Paper;
  /** Names in mergekit's YAML; each is the id or a preset, with `_` for `-`. Default: the id. Empty: mergekit has no such method. */
  readonly mergekit?: readonly string[];
  /** `required`: works on task vectors. `optional`: uses one if there is one. `none`: a base is one of the models. */
  readonly base: "required" | "optional" | "none";
  /** Fewest and most models, the base not counted. */
  readonly models: readonly [least: number, most: number];
  /** Kind of the statistics that it reads of every model. */
  readonly statistics?: "fisher" | "gram";
  /** Bytes that merging this tensor takes beside chunks. */
  readonly held?: (tensor: Pick<PlannedTensor, "shape" | "models">) => number;
  /** Parameters of a tensor (z fields with defaults; each described). Names as in mergekit. */
  readonly shared: S;
  /** Parameters of each model. */
  readonly perModel: P;
  /** Named partial configs; parameters of models count for all of them. */
  readonly presets?: Presets<z.output<z.ZodObject<S & P>>>;
  /** For methods that look at all tensors before they merge one. */
  readonly survey?: Survey<z.output<z.ZodObject<S>>, z.output<z.ZodObject<P>>>;
  merge(tensor: MergeTensor<z.output<z.ZodObject<S>>, z.output<z.ZodObject<P>>>): void;
}

/** Rounds over the whole model before the merge. Numbers of all tensors are added up. */
export interface Survey<Shared = Readonly<Record<string, unknown>>, PerModel = Readonly<Record<string, unknown>>> {
  /** How many rounds these parameters need; 0: none. */
  rounds(parameters: Shared): number;
  /** The tensor's part of round number `tensor.totals.length`: always as many numbers. */
  count(tensor: MergeTensor<Shared, PerModel>): Float64Array;
}

/** A method that merges tensor by tensor: over weights in memory through `run`, over files through {@link runMerge}. */
export interface MergeMethod extends Method<MergeInputs, MergeOutput, z.ZodObject> {
  readonly merging: {
    readonly mergekit: readonly string[];
    readonly base: "required" | "optional" | "none";
    readonly models: readonly [number, number];
    readonly statistics?: "fisher" | "gram";
    readonly held?: (tensor: Pick<PlannedTensor, "shape" | "models">) => number;
    readonly shared: z.ZodObject;
    readonly perModel: z.ZodObject;
    readonly survey?: Survey;
    merge(tensor: MergeTensor): void;
  };
}
