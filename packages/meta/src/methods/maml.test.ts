import { f32, type Graph, grad, type HostTensor, i32, liveness, makeDelta, ortEngine, Rng, trace } from "@lfm/core";
import { conformMethod } from "@lfm/core/testing";
import { convnet, initWeights, mlp } from "@lfm/models";
import { arrayClassification, arrayRegression } from "@lfm/train";
import { expect, it } from "vitest";
import { throughBytes } from "../../test/through-bytes.js";
import { lineEpisodes } from "../../test/tiny-meta.js";
import { takesTaskAxis } from "../batched-tasks.js";
import { adaptedAnswers } from "../gradient/adapted-answers.js";
import { plainDescent } from "../gradient/moves.js";
import { type Order, outerLoss } from "../gradient/outer-loss.js";
import { type Episode, episodeSpecs, type MetaInputs } from "../inputs.js";
import { groupTasks } from "../task-groups.js";
import { maml } from "./maml.js";

const config = { input_size: 1, hidden_sizes: [16, 16], output_size: 1, task: "regressor" as const };
const defaults = {
  innerLr: 0.02,
  innerSteps: 1,
  evalSteps: 5,
  order: "exact" as const,
  norm: "transductive" as const,
  metaLr: 0.005,
  steps: 250,
  threads: 1,
  schedule: "constant" as const,
  clipNorm: 100,
};

/** Lines seen at five points. */
const lines = (seed: number, count: number): Episode[] => lineEpisodes(seed, count, { spread: 3, shots: 5, queries: 20 });

const inputs = (tasks = 10): MetaInputs => ({
  model: mlp(config, initWeights(mlp(config).info, { seed: 2 })),
  task: arrayRegression("lines", "features", [1], 1),
  episodes: (step) => lines(step, tasks),
});

const context = async (): Promise<Parameters<typeof maml.run>[2]> => ({
  engine: await ortEngine({ threads: 1 }),
  rng: new Rng(1),
  access: [],
  log: () => {},
  progress: () => {},
});

function error(answers: readonly HostTensor[], episodes: readonly Episode[]): number {
  const squares = answers.flatMap((y, i) => Array.from(y.data as Float32Array, (v, j) => (v - Number(episodes[i]!.query.y!.data[j])) ** 2));
  return squares.reduce((a, b) => a + b, 0) / squares.length;
}

it("adapts to new lines far better than plain descent from where it began", async () => {
  const given = inputs();
  const own = await context();
  const output = await maml.run(given, defaults, own);
  const test = lines(9999, 60);
  const learned = error(await output.predict(test), test);
  const start = given.model.params as Record<string, HostTensor>;
  const untrained = error(await adaptedAnswers(given, start, test, { steps: 5, lr: 0.02, group: 10, threads: 1 }, own), test);
  expect(learned).toBeLessThan(0.4 * untrained);
  const fomaml = await maml.run(given, { ...defaults, order: "first" }, own);
  expect(error(await fomaml.predict(test), test)).toBeLessThan(0.6 * untrained);
  expect(fomaml.delta.tensors).not.toEqual(output.delta.tensors);
});

function traced(given: MetaInputs, tasks: number, steps: number, order: Order): Graph {
  const names = Object.keys(given.model.params);
  const spec = (t: HostTensor): { dtype: "f32"; shape: readonly number[] } => ({ dtype: "f32", shape: t.shape });
  const params = Object.fromEntries(names.map((n) => [n, spec(given.model.params[n] as HostTensor)]));
  return trace({ params, stack: episodeSpecs(lines(0, tasks)) }, (i) => {
    const groups = groupTasks({ ...given, norm: "transductive" }, i.params, names, i.stack);
    const loss = outerLoss(groups, { steps, move: plainDescent(0.1) }, i.params, order);
    return { loss, grad: grad(loss, i.params) };
  }).graph;
}

it("the graph is as large for 25 tasks as for 2 where the model takes a task axis", () => {
  const nodes = (tasks: number): number => traced(inputs(tasks), tasks, 3, "exact").nodes.length;
  // One more or less: shapes that happen to be equal spare a broadcast.
  expect(Math.abs(nodes(25) - nodes(2))).toBeLessThanOrEqual(2);
});

it("by products with Hessians an inner step costs memory for its parameters alone; through the whole loop its activations stay", () => {
  const tasks = 10;
  const given = inputs(tasks);
  const ofTasks = tasks * 4 * Object.values(given.model.params).reduce((n, t) => n + (t as HostTensor).data.length, 0);
  const perStep = (order: Order): number =>
    (liveness(traced(given, tasks, 9, order)).peak - liveness(traced(given, tasks, 3, order)).peak) / 6;
  expect(perStep("hvp")).toBeLessThanOrEqual(1.01 * ofTasks);
  expect(perStep("exact")).toBeGreaterThan(1.5 * ofTasks);
});

it("unrolls the tasks of a convolutional model, whose batch norm takes the statistics of the set at hand", async () => {
  const shape = { image_size: 4, widths: [3], classes: 2 };
  const model = convnet(shape, initWeights(convnet(shape).info, { seed: 4 }));
  expect(takesTaskAxis(model)).toBe(false);
  expect(takesTaskAxis(mlp(config))).toBe(true);
  const rng = new Rng(8);
  const draw = (n: number): Episode["support"] => {
    const y = Array.from({ length: n }, (_, i) => i % 2);
    return {
      x: f32(
        rng.normalArray(n * 16).map((v, i) => v + (y[Math.floor(i / 16)] === 1 && i % 4 > 1 ? 3 : 0)),
        [n, 1, 4, 4],
      ),
      labels: i32(y),
    };
  };
  const episodes = Array.from({ length: 3 }, () => ({ support: draw(4), query: draw(6) }));
  const given: MetaInputs = { model, task: arrayClassification("shapes", "pixels", [1, 4, 4]), ways: 2, episodes: () => episodes };
  const output = await maml.run(given, { ...defaults, innerLr: 0.3, metaLr: 0.02, steps: 25 }, await context());
  const loss = output.curves.loss!.map(([, v]) => v);
  expect(loss.at(-1)!).toBeLessThan(0.6 * loss[0]!);
  const answers = await output.predict(episodes);
  expect(answers.map((y) => y.shape)).toEqual([
    [6, 2],
    [6, 2],
    [6, 2],
  ]);
  // Running statistics have no part in it: other ones change nothing.
  const shifted = { ...model.params, "features.0.norm.running_mean": f32([5, 5, 5]) };
  const again = await maml.run(
    { ...given, model: { ...model, params: shifted, forward: (p, i, c) => model.forward(p, i, c) } },
    { ...defaults, innerLr: 0.3, metaLr: 0.02, steps: 25 },
    await context(),
  );
  expect(await again.predict(episodes)).toEqual(answers);
});

it("keeps the contract of methods", async () => {
  const passed = await conformMethod(maml, {
    engine: await ortEngine({ threads: 1 }),
    inputs: () => inputs(3),
    config: { steps: 4 },
    observe: (output) => output.delta.tensors,
    reload: async (output) => ({ ...output, delta: makeDelta(maml, defaults, throughBytes(output.delta.tensors)) }),
  });
  expect(passed.length).toBeGreaterThan(5);
});
