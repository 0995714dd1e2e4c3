import { type Engine, f32, type HostTensor, type MethodContext, Rng, referenceEngine } from "@lfm/core";
import { initWeights, mlp } from "@lfm/models";
import { arrayRegression } from "@lfm/train";
import type { Episode, MetaInputs } from "../src/inputs.js";

/** Lines of random slope, seen at three points and asked at four. */
export function lineEpisodes(seed: number, count = 2): Episode[] {
  const rng = new Rng(seed);
  return Array.from({ length: count }, () => {
    const [a, b] = [rng.normal(), rng.normal()];
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
    return { support: draw(3), query: draw(4) };
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

export function tinyContext(engine: Engine = referenceEngine(), over: Partial<MethodContext> = {}): MethodContext {
  return { engine, rng: new Rng(1), access: ["weights", "grad"], log: () => {}, progress: () => {}, ...over };
}
