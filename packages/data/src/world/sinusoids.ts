import { f32, type HostTensor, Rng as Random } from "@lfm/core";

/** A curve to be learned from a few points of it. */
export interface SinusoidEpisode {
  /** y = amplitude · sin(x − phase) */
  readonly amplitude: number;
  readonly phase: number;
  /** f32[shots, 1] each. */
  readonly support: { readonly x: HostTensor; readonly y: HostTensor };
  /** f32[queries, 1] each. */
  readonly query: { readonly x: HostTensor; readonly y: HostTensor };
}

export interface SinusoidOptions {
  readonly seed: number;
  /** Independent streams: training tasks never come again in another. */
  readonly split: "train" | "validation" | "test";
  /** Tasks of a step (default 25). */
  readonly tasks?: number;
  /** K (default 10). */
  readonly shots?: number;
  /** Default: as many as shots. */
  readonly queries?: number;
}

/**
 * The regression family of MAML (arXiv 1703.03400, §5.1): amplitude uniform in [.1, 5], phase uniform in [0, π], x uniform in [−5, 5].
 * The tasks of a step are a pure function of options and step.
 */
export function sinusoidEpisodes(options: SinusoidOptions, step: number): SinusoidEpisode[] {
  const { seed, split, tasks = 25, shots = 10, queries = shots } = options;
  const rng = new Random(seed).split(`sinusoids/${split}`).split(step);
  return Array.from({ length: tasks }, () => {
    const amplitude = 0.1 + 4.9 * rng.uniform();
    const phase = Math.PI * rng.uniform();
    const draw = (n: number): { x: HostTensor; y: HostTensor } => {
      const x = rng.uniformArray(n, -5, 5);
      return {
        x: f32(x, [n, 1]),
        y: f32(
          x.map((v) => amplitude * Math.sin(v - phase)),
          [n, 1],
        ),
      };
    };
    return { amplitude, phase, support: draw(shots), query: draw(queries) };
  });
}
