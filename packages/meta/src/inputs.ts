import { type HostTensor, inputKind, LfmError, type Model, reshape, type Spec, slice, type Tensor } from "@lfm/core";

/** One few-shot task: a small support set to learn from and queries to answer. */
export interface Episode {
  /** f32[support, ...item] and its targets: f32[support, ...] for regression, i32[support] for classes. */
  readonly support: { readonly x: HostTensor; readonly y: HostTensor };
  readonly query: { readonly x: HostTensor; readonly y: HostTensor };
}

export interface MetaInputs {
  readonly model: Model;
  /** Which field of the model's input an item is. */
  readonly input: "features" | "pixels";
  /** The tasks of a training step, a pure function of the step; all of equal sizes. May come late, e.g. from disk. */
  readonly episodes: (step: number) => readonly Episode[] | Promise<readonly Episode[]>;
  readonly kind: "regression" | "classification";
  /** Classes of a training episode; a method that keeps no last layer answers episodes of any number of classes. */
  readonly ways?: number;
}

/** What every meta-learning method is given. */
export const metaInputs = {
  model: inputKind<Model>("episode-learner"),
  input: inputKind<MetaInputs["input"]>("episode-items"),
  kind: inputKind<MetaInputs["kind"]>("episode-answers"),
  ways: { kind: inputKind<number>("episode-ways"), optional: true },
  episodes: inputKind<MetaInputs["episodes"]>("episodes"),
} as const;

export interface MetaOutput {
  readonly params: Readonly<Record<string, HostTensor>>;
  readonly curves: Readonly<Record<string, readonly (readonly [number, number])[]>>;
  /** Adapts to each episode and answers its queries: predictions f32[query, outputs] per episode. Learned parameters stay as they are. */
  predict(episodes: readonly Episode[]): Promise<readonly HostTensor[]>;
}

/** Parameters as traced tensors. */
export type TracedParams = Readonly<Record<string, Tensor>>;

/** Episodes along a leading task axis: supports and queries with their targets. */
export type EpisodeStack<T> = {
  readonly sx: T;
  readonly sy: T;
  readonly qx: T;
  readonly qy: T;
};

/** Joins equal-sized episodes along a new leading axis. @throws {LfmError} SHAPE_MISMATCH */
export function stackEpisodes(episodes: readonly Episode[]): EpisodeStack<HostTensor> {
  const join = (what: string, tensors: readonly HostTensor[]): HostTensor => {
    const first = tensors[0];
    if (!first) throw new LfmError("SHAPE_MISMATCH", "[@lfm/meta] a step has no episode");
    const data = new (first.data.constructor as Float32ArrayConstructor)(tensors.length * first.data.length);
    for (const [i, t] of tensors.entries()) {
      if (t.shape.join() !== first.shape.join())
        throw new LfmError("SHAPE_MISMATCH", `[@lfm/meta] ${what} of episode ${i} is [${t.shape}], that of episode 0 [${first.shape}]`, {
          hint: "all episodes of a call must be of one size",
        });
      data.set(t.data as Float32Array, i * first.data.length);
    }
    return { dtype: first.dtype, shape: [tensors.length, ...first.shape], data };
  };
  return {
    sx: join(
      "support",
      episodes.map((e) => e.support.x),
    ),
    sy: join(
      "support targets",
      episodes.map((e) => e.support.y),
    ),
    qx: join(
      "query",
      episodes.map((e) => e.query.x),
    ),
    qy: join(
      "query targets",
      episodes.map((e) => e.query.y),
    ),
  };
}

/** Types of what {@link stackEpisodes} makes of these. */
export function episodeSpecs(episodes: readonly Episode[]): EpisodeStack<Spec & { readonly shape: readonly number[] }> {
  const { sx, sy, qx, qy } = stackEpisodes(episodes);
  const spec = ({ dtype, shape }: HostTensor): Spec & { readonly shape: readonly number[] } => ({ dtype, shape });
  return { sx: spec(sx), sy: spec(sy), qx: spec(qx), qy: spec(qy) };
}

/** Element i of the leading task axis. */
export function taskOf(x: Tensor, i: number): Tensor {
  return reshape(slice(x, 0, i, 1), x.shape.slice(1));
}

/** The elements of the leading axis, each with its own data. */
export function unstack(t: HostTensor): HostTensor[] {
  const [n, ...shape] = t.shape;
  const size = shape.reduce((a, b) => a * b, 1);
  return Array.from({ length: n! }, (_, i) => ({ dtype: t.dtype, shape, data: t.data.slice(i * size, (i + 1) * size) }));
}
