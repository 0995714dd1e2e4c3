import type { HostTensor, Model, Tensor } from "@lfm/core";

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
  /** The tasks of a training step, a pure function of the step; all of equal sizes. */
  readonly episodes: (step: number) => readonly Episode[];
  readonly kind: "regression" | "classification";
  /** Classes of an episode. */
  readonly ways?: number;
}

export interface MetaOutput {
  readonly params: Readonly<Record<string, HostTensor>>;
  readonly curves: Readonly<Record<string, readonly (readonly [number, number])[]>>;
  /** Adapts to each episode and answers its queries: predictions f32[query, outputs] per episode. Learned parameters stay as they are. */
  predict(episodes: readonly Episode[]): Promise<readonly HostTensor[]>;
}

/** Parameters as traced tensors. */
export type TracedParams = Readonly<Record<string, Tensor>>;

/** Joins equal-sized episodes along a new leading axis. */
export function stackEpisodes(episodes: readonly Episode[]): {
  readonly sx: HostTensor;
  readonly sy: HostTensor;
  readonly qx: HostTensor;
  readonly qy: HostTensor;
} {
  const join = (ts: readonly HostTensor[]): HostTensor => {
    const [first] = ts;
    const data = new (first!.data.constructor as Float32ArrayConstructor)(ts.length * first!.data.length);
    for (const [i, t] of ts.entries()) data.set(t.data as Float32Array, i * first!.data.length);
    return { dtype: first!.dtype, shape: [ts.length, ...first!.shape], data };
  };
  return {
    sx: join(episodes.map((e) => e.support.x)),
    sy: join(episodes.map((e) => e.support.y)),
    qx: join(episodes.map((e) => e.query.x)),
    qy: join(episodes.map((e) => e.query.y)),
  };
}
