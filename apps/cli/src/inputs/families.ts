import { LfmError, type Model, Rng } from "@lfm/core";
import { type ClassPool, createGlyphs, drawEpisode, loadOmniglot, sinusoidEpisodes } from "@lfm/data";
import type { Episode, MetaInputs } from "@lfm/meta";
import { convnet, initWeights, mlp } from "@lfm/models";
import { arrayClassification, arrayRegression } from "@lfm/train";
import type { Sources } from "./sources.js";

/** A family of tasks, and a fresh model that fits it. */
export interface Family extends MetaInputs {
  readonly name: string;
  readonly shots: number;
  /** Tasks of classes or curves that training never saw. */
  readonly unseen: readonly Episode[];
}

/** Tasks that a result is measured on. */
const TEST_TASKS = 200;

/** The family that --family names. @throws {LfmError} as the readers of data sets */
export function openFamily(s: Sources): Promise<Family> {
  return s.once("family", async () => {
    const [seed, name] = [s.request.seed ?? 0, s.text("family") ?? "sinusoid"];
    const [ways, tasks] = [s.count("ways") ?? 5, s.count("tasks") ?? 4];
    if (name === "sinusoid") {
      const shots = s.count("shots") ?? 10;
      const options = { seed, shots, tasks };
      return {
        name,
        shots,
        model: withFreshWeights(mlp({ input_size: 1, hidden_sizes: [40, 40], output_size: 1, task: "regressor" }), seed),
        task: arrayRegression(name, "features", [1], 1),
        episodes: (step) => sinusoidEpisodes({ ...options, split: "train" }, step),
        unseen: sinusoidEpisodes({ ...options, split: "test", tasks: TEST_TASKS }, 0),
      };
    }
    const shots = s.count("shots") ?? 1;
    const { train, test, size } = name === "glyphs" ? glyphPools(seed) : await omniglotPools();
    const itemShape = [1, size, size];
    const draw = (pools: readonly ClassPool[], split: string, step: number, n: number): Episode[] => {
      const rng = new Rng(seed).split(split).split(step);
      return Array.from({ length: n }, () => drawEpisode(pools, itemShape, { ways, shots, queries: 5 }, rng));
    };
    return {
      name,
      shots,
      ways,
      model: withFreshWeights(convnet({ channels: 1, image_size: size, widths: size >= 28 ? [64, 64, 64, 64] : [32, 32, 32] }), seed),
      task: arrayClassification(name, "pixels", itemShape),
      episodes: (step) => draw(train, "train", step, tasks),
      unseen: draw(test, "test", 0, TEST_TASKS),
    };
  });
}

function withFreshWeights(plan: Model, seed: number): Model {
  return { ...plan, params: initWeights(plan.info, { seed }) };
}

interface Pools {
  readonly train: readonly ClassPool[];
  readonly test: readonly ClassPool[];
  /** Pixels along a side. */
  readonly size: number;
}

function glyphPools(seed: number): Pools {
  const world = createGlyphs({ seed, classes: 80 });
  const pool = (label: number): ClassPool => ({ count: 40, item: (i) => world.image("train", label, i) });
  const all = Array.from({ length: 80 }, (_, label) => pool(label));
  return { train: all.slice(0, 60), test: all.slice(60), size: world.size };
}

async function omniglotPools(): Promise<Pools> {
  const set = await loadOmniglot(process.env.LFM_DATA === undefined ? {} : { folder: process.env.LFM_DATA });
  const pools = (split: "train" | "test"): ClassPool[] =>
    set.splits[split].map((c) => ({ count: c.drawings.length, item: (i) => c.drawings[i]! }));
  if (set.size < 16) throw new LfmError("CONFIG_INVALID", "lfm: drawings of fewer than 16 pixels leave nothing after four halvings");
  return { train: pools("train"), test: pools("test"), size: set.size };
}
