import { adam, type CellOutcome, type HostTensor, isLfmError, type Metric, type Model, provider, Rng, trainableParams } from "@lfm/core";
import { type ClassEpisode, type ClassPool, createGlyphs, drawEpisode, loadOmniglot, sinusoidEpisodes } from "@lfm/data";
import { adaptedAnswers, type Episode, type MetaInputs, type MetaOutput, metaInputs } from "@lfm/meta";
import { convnet, initWeights, mlp } from "@lfm/models";
import { arrayClassification, arrayRegression, fit, fitContext, modelTraining, withBatches } from "@lfm/train";
import type { CellContext, CellMethod, Scenario } from "../scenario.js";
import { runByKind } from "./run-by-kind.js";

const TEST_TASKS = 600;

/** Runs the cell's method and times it. */
async function learn(cell: CellMethod, inputs: MetaInputs, context: CellContext): Promise<{ output: MetaOutput; ms: number }> {
  const begin = performance.now();
  const providers = [
    provider(metaInputs.model, () => inputs.model),
    provider(metaInputs.task, () => inputs.task),
    provider(metaInputs.ways.kind, () => inputs.ways),
    provider(metaInputs.episodes, () => inputs.episodes),
  ];
  const output = await runByKind<MetaOutput>("meta", cell, providers, context);
  return { output, ms: performance.now() - begin };
}

/** Of what was learned, under its names in the model or the method's own. */
export function learnedCosts(model: Model, params: Readonly<Record<string, HostTensor>>): Pick<CellOutcome, "trainableParams" | "bytes"> {
  const size = (names: readonly string[]): number => names.reduce((sum, n) => sum + params[n]!.data.length, 0);
  const names = Object.keys(params);
  return { trainableParams: size(names.filter((n) => model.info.params[n]?.trainable ?? true)), bytes: 4 * size(names) };
}

const none = { retention: null, queries: 0, monitors: [] } as const;

/** Mean squared error over all queries of all episodes. */
function meanError(answers: readonly HostTensor[], episodes: readonly Episode[]): number {
  let [sum, n] = [0, 0];
  answers.forEach((y, i) => {
    y.data.forEach((v, j) => {
      sum += (Number(v) - Number(episodes[i]!.query.y!.data[j])) ** 2;
      n++;
    });
  });
  return sum / n;
}

const sinusoidModel = (seed: number): Model => {
  const config = { input_size: 1, hidden_sizes: [40, 40], output_size: 1, task: "regressor" as const };
  return mlp(config, initWeights(mlp(config).info, { seed }));
};

/** The usual alternative to meta-learning: one net fitted to the points of all tasks, then fine-tuned with the step size that suits it best. */
async function jointNet(context: CellContext, inputs: Pick<MetaInputs, "model" | "task">): Promise<number> {
  const { seed, engine } = context;
  const fitted = await fit({
    ...fitContext(context, "joint net"),
    ...modelTraining(
      inputs.model,
      withBatches(inputs.task, (step) => {
        const points = sinusoidEpisodes({ seed, split: "train" }, step).flatMap((e) => [e.support, e.query]);
        const join = (part: "x" | "y"): HostTensor => {
          const data = Float32Array.from(points.flatMap((p) => Array.from(p[part].data, Number)));
          return { dtype: "f32", shape: [data.length, 1], data };
        };
        return { x: join("x"), y: join("y") };
      }),
      { learned: trainableParams(inputs.model) },
    ),
    optimizer: adam(),
    lr: 1e-3,
    steps: 1500,
    threads: 1,
  });
  const errorOf = async (lr: number, episodes: readonly Episode[]): Promise<number> =>
    meanError(await adaptedAnswers(inputs, fitted.params, episodes, { steps: 5, lr, group: 100, threads: 1 }, { engine }), episodes);
  const validation = sinusoidEpisodes({ seed, split: "validation", tasks: 200, queries: 50 }, 0);
  let best = { lr: 0, error: Number.POSITIVE_INFINITY };
  for (const lr of [1e-3, 3e-3, 0.01, 0.02, 0.05, 0.1]) {
    const error = await errorOf(lr, validation).catch(worstIfDiverged);
    if (error < best.error) best = { lr, error };
  }
  return errorOf(best.lr, sinusoidEpisodes({ seed, split: "test", tasks: TEST_TASKS, queries: 50 }, 0));
}

/** A step size that leaves the numbers is none to choose. */
function worstIfDiverged(error: unknown): number {
  if (isLfmError(error, "NUMERIC_DIVERGED")) return Number.POSITIVE_INFINITY;
  throw error;
}

const sinusoid: Scenario = {
  id: "sinusoid",
  paradigm: "meta",
  model: "mlp 1-40-40-1",
  summary: "Regression of sine curves from K = 10 points: mean squared error on 600 new curves after the method has adapted to each.",
  headline: "mse",
  access: ["weights", "grad"],
  run: async (cell, context) => {
    const { seed } = context;
    const inputs: MetaInputs = {
      model: sinusoidModel(seed),
      task: arrayRegression("sinusoid", "features", [1], 1),
      episodes: (step) => sinusoidEpisodes({ seed, split: "train" }, step),
    };
    const { output, ms } = await learn(cell, inputs, context);
    const begin = performance.now();
    const test = sinusoidEpisodes({ seed, split: "test", tasks: TEST_TASKS, queries: 50 }, 0);
    const mse = meanError(await output.predict(test), test);
    const joint = await context.shared(`meta/sinusoid/joint/${seed}`, () => jointNet(context, inputs));
    const value = (v: number, unit: string, note: string): Metric => ({ value: v, unit, higherIsBetter: false, note });
    return {
      ...none,
      ...learnedCosts(inputs.model, output.delta.tensors),
      metrics: {
        mse: value(mse, "mse", "on 50 other points of each of 600 new curves"),
        jointMse: value(
          joint,
          "mse",
          "the same net trained on all tasks jointly, then 5 steps with the step size best on validation curves",
        ),
        ratio: value(mse / joint, "ratio", "mse / jointMse"),
      },
      dataUsed: (output.curves.loss?.length ?? 0) * 25 * 20,
      curves: output.curves,
      phasesMs: { train: ms, test: performance.now() - begin },
    };
  },
};

/** Answers right, as a share, with the half width of its 95 % interval over episodes. */
function episodeAccuracy(
  answers: readonly HostTensor[],
  episodes: readonly Episode[],
): { readonly mean: number; readonly interval: number } {
  const each = answers.map((y, i) => {
    const [n, ways] = y.shape as readonly [number, number];
    const values = y.data as Float32Array;
    let right = 0;
    for (let q = 0; q < n; q++) {
      const row = values.subarray(q * ways, (q + 1) * ways);
      if (row.indexOf(Math.max(...row)) === Number(episodes[i]!.query.labels!.data[q])) right++;
    }
    return right / n;
  });
  const mean = each.reduce((a, v) => a + v, 0) / each.length;
  const variance = each.reduce((a, v) => a + (v - mean) ** 2, 0) / Math.max(1, each.length - 1);
  return { mean, interval: 1.96 * Math.sqrt(variance / each.length) };
}

/** A few-shot problem on images: classes to learn to learn from, and others to be tested on. */
interface FewShot {
  readonly model: Model;
  readonly itemShape: readonly number[];
  readonly train: readonly ClassPool[];
  readonly test: readonly ClassPool[];
  /** Classes apart from both: options of methods are chosen on these. */
  readonly validation?: readonly ClassPool[];
  /** Size of a training episode; methods with a last layer keep its number of classes. */
  readonly size: { readonly ways: number; readonly shots: number; readonly queries: number };
  readonly tasksPerStep: number;
  readonly testEpisodes: number;
}

async function fewShot(cell: CellMethod, context: CellContext, problem: FewShot): Promise<CellOutcome> {
  const { model, itemShape, train, test, size } = problem;
  const rng = new Rng(context.seed).split("episodes");
  const { output, ms } = await learn(
    cell,
    {
      model,
      task: arrayClassification("few-shot", model.info.input === "features" ? "features" : "pixels", itemShape),
      ways: size.ways,
      episodes: (step) =>
        Array.from({ length: problem.tasksPerStep }, (_, i) => drawEpisode(train, itemShape, size, rng.split(`train/${step}/${i}`))),
    },
    context,
  );
  const begin = performance.now();
  const metrics: Record<string, Metric> = {};
  const draw = (pools: readonly ClassPool[], name: string, shots: number): ClassEpisode[] =>
    Array.from({ length: problem.testEpisodes }, (_, i) =>
      drawEpisode(pools, itemShape, { ways: 5, shots, queries: 5 }, rng.split(`${name}/${shots}/${i}`)),
    );
  for (const shots of [1, 5]) {
    if (problem.validation) {
      const episodes = draw(problem.validation, "validation", shots);
      const { mean } = episodeAccuracy(await output.predict(episodes), episodes);
      metrics[`validation${shots}Shot`] = {
        value: mean,
        unit: "fraction",
        higherIsBetter: true,
        note: "on the classes that options are chosen on",
      };
    }
    const episodes = draw(test, "test", shots);
    const { mean, interval } = episodeAccuracy(await output.predict(episodes), episodes);
    const note = `5-way on unseen classes, ${episodes.length} episodes, ± ${(100 * interval).toFixed(1)} points (95 %), norm ${output.norm}`;
    metrics[`accuracy${shots}Shot`] = { value: mean, unit: "fraction", higherIsBetter: true, note };
    const floor = episodeAccuracy(episodes.map(nearestMeanImage), episodes).mean;
    metrics[`pixels${shots}Shot`] = { value: floor, unit: "fraction", higherIsBetter: true, note: "nearest mean image, nothing learned" };
  }
  return {
    ...none,
    ...learnedCosts(model, output.delta.tensors),
    metrics,
    dataUsed: train.reduce((sum, pool) => sum + pool.count, 0),
    curves: output.curves,
    phasesMs: { train: ms, test: performance.now() - begin },
  };
}

/** −‖q − c‖² on raw pixels: what no learning gives. */
function nearestMeanImage({ support, query }: ClassEpisode): HostTensor {
  const labels = Array.from(support.labels.data, Number);
  const ways = 1 + Math.max(...labels);
  const [n, m] = [labels.length, query.labels.shape[0]!];
  const [s, q] = [support.x.data as Float32Array, query.x.data as Float32Array];
  const width = s.length / n;
  const means = Array.from({ length: ways }, () => new Float32Array(width));
  labels.forEach((k, i) => {
    for (let p = 0; p < width; p++) means[k]![p] = means[k]![p]! + (s[i * width + p]! * ways) / n;
  });
  const data = new Float32Array(m * ways);
  for (let i = 0; i < m; i++)
    means.forEach((c, k) => {
      data[i * ways + k] = -c.reduce((sum, v, p) => sum + (v - q[i * width + p]!) ** 2, 0);
    });
  return { dtype: "f32", shape: [m, ways], data };
}

const glyphsFewShot: Scenario = {
  id: "glyphs-few-shot",
  paradigm: "meta",
  model: "convnet 16-32",
  summary: "Generated glyphs of 64 classes to learn from, 20 other classes to be told apart 5 at a time: share of right answers.",
  headline: "accuracy1Shot",
  access: ["weights", "grad", "activations"],
  run: (cell, context) => {
    const glyphs = createGlyphs({ seed: context.seed, classes: 84, size: 12 });
    const pool = (label: number): ClassPool => {
      const cache = new Map<number, Float32Array>();
      const item = (index: number): Float32Array => {
        const image = cache.get(index) ?? glyphs.image("train", label, index);
        cache.set(index, image);
        return image;
      };
      return { count: 30, item };
    };
    const pools = Array.from({ length: glyphs.classes }, (_, label) => pool(label));
    const config = { image_size: 12, widths: [16, 32], classes: 5 };
    return fewShot(cell, context, {
      model: convnet(config, initWeights(convnet(config).info, { seed: context.seed })),
      itemShape: [1, 12, 12],
      train: pools.slice(0, 64),
      test: pools.slice(64),
      size: { ways: 5, shots: 1, queries: 5 },
      tasksPerStep: 2,
      testEpisodes: 120,
    });
  },
};

/** The drawings of a character, turned by `quarters` of 90°: another class, as the paper has it. */
function turnedPool(drawings: readonly Float32Array[], size: number, quarters: number): ClassPool {
  const turn = (image: Float32Array): Float32Array => image.map((_, i) => image[(i % size) * size + size - 1 - Math.floor(i / size)]!);
  const turned = drawings.map((drawing) => {
    let image = drawing;
    for (let q = 0; q < quarters; q++) image = turn(image);
    return image;
  });
  return { count: turned.length, item: (index) => turned[index]! };
}

const omniglot5way: Scenario = {
  id: "omniglot-5way",
  paradigm: "meta",
  model: "convnet 64-64-64-64",
  summary: "Omniglot's small background sets, tested on characters of three alphabets never seen, 5 at a time: share of right answers.",
  headline: "accuracy1Shot",
  access: ["weights", "grad", "activations"],
  requires: ["data"],
  run: async (cell, context) => {
    const { size, splits } = await loadOmniglot(context.folders.data === undefined ? {} : { folder: context.folders.data });
    const config = { image_size: size, widths: [64, 64, 64, 64] };
    return fewShot(cell, context, {
      model: convnet(config, initWeights(convnet(config).info, { seed: context.seed })),
      itemShape: [1, size, size],
      train: splits.train.flatMap((c) => [0, 1, 2, 3].map((quarters) => turnedPool(c.drawings, size, quarters))),
      validation: splits.validation.map((c) => turnedPool(c.drawings, size, 0)),
      test: splits.test.map((c) => turnedPool(c.drawings, size, 0)),
      size: { ways: 30, shots: 1, queries: 5 },
      tasksPerStep: 1,
      testEpisodes: 600,
    });
  },
};

export const metaScenarios: readonly Scenario[] = [sinusoid, glyphsFewShot, omniglot5way];
