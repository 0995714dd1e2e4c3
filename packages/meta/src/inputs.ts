import { type Delta, type HostTensor, inputKind, LfmError, type Model, reshape, type Spec, slice, type Tensor } from "@lfm/core";
import type { Batch, FitResult, TaskShape } from "@lfm/train";
import type { Norm } from "./statistics-of.js";

/** One few-shot task: batches of a task's shape, a small one to learn from and queries to answer. */
export interface Episode {
  readonly support: Batch;
  readonly query: Batch;
}

export interface MetaInputs {
  readonly model: Model;
  /** How the model reads the batches of an episode, and which answers are right: pictures, features or tokens, classes or values. */
  readonly task: TaskShape;
  /** The tasks of a training step, a pure function of the step; all of equal sizes. May come late, e.g. from disk. */
  readonly episodes: (step: number) => readonly Episode[] | Promise<readonly Episode[]>;
  /** Classes of a training episode; a method that keeps no last layer answers episodes of any number of classes. */
  readonly ways?: number;
  /** Hash of the model, recorded in the delta. */
  readonly parent?: string;
  /**
   * A delta on the model (LoRA, prompts): what is learned of the model are its tensors, and the last layer, over frozen weights. It goes back into
   * the delta that comes out. Given by code alone.
   */
  readonly start?: Delta;
}

/** What every meta-learning method is given. */
export const metaInputs = {
  model: inputKind<Model>("episode-learner"),
  task: inputKind<TaskShape>("episode-task"),
  ways: { kind: inputKind<number>("episode-ways"), optional: true },
  episodes: inputKind<MetaInputs["episodes"]>("episodes"),
} as const;

export interface MetaOutput {
  /** The learned initialisation or embedding, as parameters that replace the model's. */
  readonly delta: Delta;
  readonly model: Model;
  readonly curves: FitResult["curves"];
  /** Where a batch norm takes its statistics when episodes are answered: to be said beside every accuracy. */
  readonly norm: Norm;
  /** Adapts to each episode and answers its queries: predictions f32[query, outputs] per episode. Learned parameters stay as they are. */
  predict(episodes: readonly Episode[]): Promise<readonly HostTensor[]>;
}

/** Parameters as traced tensors. */
export type TracedParams = Readonly<Record<string, Tensor>>;

/** Weights and biases of a model's last layers. */
export function headParams({ info }: Pick<Model, "info">): readonly string[] {
  return info.sites.flatMap(({ kind, weight }) => (kind === "head" && weight ? [weight.name, ...(weight.bias ? [weight.bias] : [])] : []));
}

const halves = ["support", "query"] as const;

/** Joins equal-sized episodes along a new leading axis: `support/NAME` and `query/NAME`. @throws {LfmError} SHAPE_MISMATCH */
export function stackEpisodes(episodes: readonly Episode[]): Batch {
  const first = episodes[0];
  if (!first) throw new LfmError("SHAPE_MISMATCH", "[@lfm/meta] a step has no episode");
  return Object.fromEntries(
    halves.flatMap((half) =>
      Object.keys(first[half]).map((name) => [
        `${half}/${name}`,
        joined(
          `${half} ${name}`,
          episodes.map((e) => e[half][name]!),
        ),
      ]),
    ),
  );
}

function joined(what: string, tensors: readonly HostTensor[]): HostTensor {
  const [first] = tensors;
  const { dtype, shape, data: sample } = first!;
  const data = new (sample.constructor as Float32ArrayConstructor)(tensors.length * sample.length);
  for (const [i, t] of tensors.entries()) {
    if (t.shape.join() !== shape.join())
      throw new LfmError("SHAPE_MISMATCH", `[@lfm/meta] ${what} of episode ${i} is [${t.shape}], that of episode 0 [${shape}]`, {
        hint: "all episodes of a call must be of one size",
      });
    data.set(t.data as Float32Array, i * sample.length);
  }
  return { dtype, shape: [tensors.length, ...shape], data };
}

/** Types of what {@link stackEpisodes} makes of these. */
export function episodeSpecs(episodes: readonly Episode[]): Readonly<Record<string, Spec & { readonly shape: readonly number[] }>> {
  return Object.fromEntries(Object.entries(stackEpisodes(episodes)).map(([name, { dtype, shape }]) => [name, { dtype, shape }]));
}

/** One half of stacked episodes under the names of the task's batch. */
export function halfOf(half: "support" | "query", stack: Batch<Tensor>): Batch<Tensor> {
  const prefix = `${half}/`;
  return Object.fromEntries(
    Object.entries(stack).flatMap(([name, t]) => (name.startsWith(prefix) ? [[name.slice(prefix.length), t]] : [])),
  );
}

/** Element i of the leading task axis of every tensor. */
export function taskOf(stack: Batch<Tensor>, i: number): Batch<Tensor> {
  return Object.fromEntries(Object.entries(stack).map(([name, x]) => [name, reshape(slice(x, 0, i, 1), x.shape.slice(1))]));
}

/** The elements of the leading axis, each with its own data. */
export function unstack(t: HostTensor): HostTensor[] {
  const [n, ...shape] = t.shape;
  const size = shape.reduce((a, b) => a * b, 1);
  return Array.from({ length: n! }, (_, i) => ({ dtype: t.dtype, shape, data: t.data.slice(i * size, (i + 1) * size) }));
}
