import {
  type Engine,
  f32,
  type HostTensor,
  i32,
  type MethodContext,
  type Model,
  ortEngine,
  Rng,
  runMethod,
  sgd,
  trainableParams,
} from "@lfm/core";
import { initWeights, mlp } from "@lfm/models";
import {
  arrayClassification,
  arrayRegression,
  type Batch,
  compileTraining,
  compileValidation,
  initialState,
  modelTraining,
  type TaskShape,
  withBatches,
} from "@lfm/train";
import { beforeAll, describe, expect, it } from "vitest";
import { full } from "../src/index.js";

const net = mlp({ input_size: 3, hidden_sizes: [4], output_size: 2 });
const model: Model = { ...net, params: initWeights(net.info, { seed: 1 }) };
const what = { learned: trainableParams(model) };
const rng = new Rng(3);
const [x, y] = [rng.normalArray(15), rng.normalArray(10)];
const labels = [0, 1, 1, 0, 1];
/** The examples from one place to another. */
const cut = (from: number, to: number): { x: HostTensor; labels: HostTensor; y: HostTensor } => ({
  x: f32(x.slice(from * 3, to * 3), [to - from, 3]),
  labels: i32(labels.slice(from, to)),
  y: f32(y.slice(from * 2, to * 2), [to - from, 2]),
});
const [classes, numbers] = [arrayClassification("classes", "features", [3]), arrayRegression("values", "features", [3], 2)];
/** The five examples as one batch, and as one of four and one of one. */
const batchesOf = (task: TaskShape, cuts: readonly (readonly [number, number])[]): Batch[] =>
  cuts.map(([from, to]) => Object.fromEntries(Object.entries(cut(from, to)).filter(([name]) => name in task.batch)));
const [whole, uneven] = [
  [[0, 5]],
  [
    [0, 4],
    [4, 5],
  ],
] as const;
let engine: Engine;
beforeAll(async () => {
  engine = await ortEngine({ threads: 1 });
});

describe.each([classes, numbers])("examples of $name that do not fill their last batch", (task) => {
  it("are validated by example, however they are cut", async () => {
    const found: number[] = [];
    for (const cuts of [whole, uneven]) {
      const batches = batchesOf(task, cuts);
      const own = withBatches(task, (n) => batches[n]!, batches.length);
      const { measure, dispose } = await compileValidation(engine, model, { task: own }, what);
      const state = initialState({ trainable: what.learned, optimizer: sgd() });
      found.push((await measure(state)).loss!);
      await dispose();
    }
    expect(found[1]).toBeCloseTo(found[0]!, 6);
  });

  it("make the step that they make together", async () => {
    const found: Float32Array[] = [];
    for (const cuts of [whole, uneven]) {
      const own = withBatches(task, () => ({}));
      const training = await compileTraining({
        ...modelTraining(model, own, what),
        engine,
        optimizer: sgd(),
        accumulates: cuts.length > 1,
      });
      await training.step(batchesOf(task, cuts), { lr: 1, step: 1, keys: [0, 0] });
      found.push((training.state().params["fc1.weight"]!.data as Float32Array).slice());
      await training.dispose();
    }
    for (const [i, v] of found[0]!.entries()) expect(found[1]![i]).toBeCloseTo(v, 5);
  });
});

it("examples without an end are validated in as many batches as are asked, and refused without a number", async () => {
  const [batch] = batchesOf(classes, whole);
  const endless = withBatches(classes, () => batch!);
  await expect(compileValidation(engine, model, { task: endless }, what)).rejects.toMatchObject({ code: "CONFIG_INVALID" });
  const { dispose } = await compileValidation(engine, model, { task: endless, batches: 2 }, what);
  await dispose();
});

it("examples that nothing says when to measure are refused, as is a measurement without examples", async () => {
  const [batch] = batchesOf(classes, whole);
  const task = withBatches(classes, () => batch!, 1);
  const context: MethodContext = { engine, rng: new Rng(1), access: ["weights", "grad"], log: () => {}, progress: () => {} };
  const invalid = { code: "CONFIG_INVALID", message: expect.stringContaining("validation examples") as string };
  await expect(runMethod(full, { model, task, validation: { task } }, { steps: 1 }, context)).rejects.toMatchObject(invalid);
  await expect(runMethod(full, { model, task }, { steps: 1, validEvery: 1 }, context)).rejects.toMatchObject(invalid);
});
