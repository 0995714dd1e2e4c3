import { type Engine, f32, type HostTensor, i32, type MethodContext, Rng, referenceEngine } from "@lfm/core";
import { initWeights, mlp } from "@lfm/models";
import { arrayClassification, arrayRegression } from "@lfm/train";
import type { z } from "zod";
import type { MetaMethod } from "../src/define-meta-method.js";
import type { Episode, MetaInputs } from "../src/inputs.js";

/** Lines of random slope and offset, seen at a few points and asked at others. @param spread deviation of slope and offset */
export function lineEpisodes(seed: number, count = 2, { spread = 1, shots = 3, queries = 4 } = {}): Episode[] {
  const rng = new Rng(seed);
  return Array.from({ length: count }, () => {
    const [a, b] = [spread * rng.normal(), spread * rng.normal()];
    const draw = (n: number): Record<"x" | "y", HostTensor> => {
      const x = rng.uniformArray(n, -2, 2);
      return {
        x: f32(x, [n, 1]),
        y: f32(
          x.map((v) => a * v + b),
          [n, 1],
        ),
      };
    };
    return { support: draw(shots), query: draw(queries) };
  });
}

/** The smallest regression that a method can learn to learn. @param hidden widths of the layers under the last */
export function lineInputs(hidden: readonly number[] = [3], tasks = 2): MetaInputs {
  const config = { input_size: 1, hidden_sizes: [...hidden], output_size: 1, activation: "tanh" as const, task: "regressor" as const };
  return {
    model: mlp(config, initWeights(mlp(config).info, { seed: 2 })),
    task: arrayRegression("lines", "features", [1], 1),
    episodes: (step) => lineEpisodes(step, tasks),
  };
}

/** Points of the plane around as many centres as there are classes. */
export function pointEpisode(seed: number, ways = 3, shots = 2, queries = 2): Episode {
  const rng = new Rng(seed);
  const centres = Array.from({ length: ways }, () => [2 * rng.normal(), 2 * rng.normal()] as const);
  const draw = (n: number): Episode["support"] => {
    const labels = Array.from({ length: ways * n }, (_, i) => i % ways);
    const x = labels.flatMap((k) => centres[k]!.map((v) => v + 0.3 * rng.normal()));
    return { x: f32(x, [labels.length, 2]), labels: i32(labels) };
  };
  return { support: draw(shots), query: draw(queries) };
}

/** The smallest classification that a method can learn to learn. */
export function pointInputs(): MetaInputs {
  const config = { input_size: 2, hidden_sizes: [3], output_size: 3, activation: "tanh" as const };
  return {
    model: mlp(config, initWeights(mlp(config).info, { seed: 5 })),
    task: arrayClassification("points", "features", [2]),
    ways: 3,
    episodes: (step) => [pointEpisode(step)],
  };
}

export function tinyContext(engine: Engine = referenceEngine(), over: Partial<MethodContext> = {}): MethodContext {
  return { engine, rng: new Rng(1), access: ["weights", "grad"], log: () => {}, progress: () => {}, ...over };
}

/** A model whose embeddings are the features that it is given. */
export function plainFeatures(size: number): MetaInputs["model"] {
  const config = { input_size: size, hidden_sizes: [], output_size: 2 };
  return mlp(config, initWeights(mlp(config).info, { seed: 1 }));
}

/** An episode of feature vectors by hand. @param supports rows with their classes */
export function episodeOf(supports: readonly (readonly [readonly number[], number])[], queries: readonly (readonly number[])[]): Episode {
  const half = (rows: readonly (readonly number[])[], labels: readonly number[]): Episode["support"] => ({
    x: f32(rows.flat(), [rows.length, rows[0]!.length]),
    labels: i32(labels),
  });
  return {
    support: half(
      supports.map(([x]) => x),
      supports.map(([, k]) => k),
    ),
    query: half(
      queries,
      queries.map(() => 0),
    ),
  };
}

/** Scores of a method without training on an episode of feature vectors, row by row. */
export async function scoresOf<S extends z.ZodObject>(
  method: MetaMethod<S>,
  config: z.input<S>,
  episode: Episode,
  tensors: Readonly<Record<string, HostTensor>> = {},
): Promise<number[][]> {
  const size = episode.query.x!.shape[1]!;
  const learned = {
    model: plainFeatures(size),
    task: arrayClassification("features", "features", [size]),
    config: method.config.parse(config),
    tensors,
  };
  const [y] = await method.answer(learned, [episode], { engine: referenceEngine() });
  const [n, ways] = y!.shape as [number, number];
  return Array.from({ length: n }, (_, i) => Array.from(y!.data.slice(i * ways, (i + 1) * ways), Number));
}
