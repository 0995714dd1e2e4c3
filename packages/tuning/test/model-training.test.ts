import {
  adamw,
  compile,
  crossEntropy,
  f32,
  grad,
  type HostTensor,
  i32,
  type Model,
  neg,
  type Outputs,
  ortEngine,
  type ParamTree,
  trace,
  zeros,
} from "@lfm/core";
import { gpt2, initWeights, mlp } from "@lfm/models";
import {
  arrayClassificationTask,
  compileTraining,
  defineTask,
  joinScored,
  type LearningTask,
  languageModelTask,
  modelTraining,
  scoredLoss,
  withBatches,
} from "@lfm/train";
import { describe, expect, it } from "vitest";

const net = mlp({ input_size: 3, hidden_sizes: [4], output_size: 2 });
const model: Model = { ...net, params: initWeights(net.info, { seed: 1 }) };
const learned = (names: readonly string[]): Record<string, HostTensor> =>
  Object.fromEntries(names.map((n) => [n, model.params[n] as HostTensor]));
const batch = { x: f32([1, 2, 3, -1, 0, 2], [2, 3]), labels: i32([0, 1]) };
const plain = arrayClassificationTask("two", "features", [3], () => batch);

/** What gets into the graph of a training's loss and its gradients. */
function graphOf(task: LearningTask, names: readonly string[]): ReturnType<typeof trace>["graph"] {
  const { trainable, frozen, batch: specs, loss } = modelTraining(model, task, { learned: learned(names) });
  const types = Object.fromEntries(Object.entries(trainable).map(([n, t]) => [n, { dtype: t.dtype, shape: t.shape }]));
  return trace(
    { own: types, batch: specs, key: { dtype: "i32", shape: [] }, step: { dtype: "f32", shape: [] } },
    ({ own, batch: b, key, step }, rest) => {
      const { loss: value, metrics } = loss({ ...rest, ...own }, b, { key, step });
      return { value, gradients: grad(value, own), ...metrics };
    },
    frozen,
  ).graph;
}

describe("the base of a training", () => {
  const anchored = withBatches(
    defineTask({
      ...plain,
      loss: (forward, b) => {
        const [now, before] = [forward(plain.input(b)), forward.base(plain.input(b))];
        return { loss: crossEntropy(now.logits!, b.labels!), metrics: { base: crossEntropy(before.logits!, b.labels!) } };
      },
    }),
    plain.batches,
  );

  it("stays as it was while the model learns, whether all of it learns or a part", async () => {
    for (const names of [Object.keys(model.params), ["fc2.weight"]]) {
      const training = await compileTraining({
        engine: await ortEngine({ threads: 1 }),
        ...modelTraining(model, anchored, { learned: learned(names) }),
        optimizer: adamw(),
      });
      const step = (n: number): Promise<Record<string, number>> => training.step([batch], { lr: 0.1, step: n, keys: [0] });
      const first = await step(1);
      for (let n = 2; n < 6; n++) await step(n);
      const last = await step(6);
      expect(first.loss).toBeCloseTo(first.base!, 6);
      expect(last.base).toBe(first.base);
      expect(last.loss).toBeLessThan(first.loss! - 0.1);
      await training.dispose();
    }
  });

  it("has its own parameters where others are carried in their place", async () => {
    const losses: Record<string, number>[] = [];
    for (const carried of [{}, { "fc2.weight": zeros(model.params["fc2.weight"]!.shape) }]) {
      const training = await compileTraining({
        engine: await ortEngine({ threads: 1 }),
        ...modelTraining(model, anchored, { learned: learned(["fc1.weight"]), carried }),
        optimizer: adamw(),
      });
      losses.push(await training.step([batch], { lr: 0.1, step: 1, keys: [0] }));
      await training.dispose();
    }
    expect(losses[1]!.base).toBeCloseTo(losses[0]!.base!, 6);
    expect(losses[1]!.loss).not.toBeCloseTo(losses[0]!.loss!, 2);
  });

  it("costs nothing where nobody asks for it", () => {
    const names = Object.keys(model.params);
    expect(graphOf(plain, names).frozen).toEqual([]);
    expect(
      graphOf(anchored, names)
        .frozen.map((f) => f.name)
        .sort(),
    ).toEqual(names.map((n) => `frozen/base/${n}`).sort());
  });
});

describe("tasks", () => {
  it("several at once: missing classes are impossible, the loss is the mean over all answers", async () => {
    const f = await compile(
      await ortEngine({ threads: 1 }),
      {
        a: { dtype: "f32", shape: [2, 3] },
        b: { dtype: "f32", shape: [2, 2] },
        la: { dtype: "i32", shape: [2] },
        lb: { dtype: "i32", shape: [2] },
      },
      ({ a, b, la, lb }) => {
        const joined = joinScored([
          { logits: a, targets: la },
          { logits: b, targets: lb },
        ]);
        const both = scoredLoss(joined).loss;
        return { both, a: crossEntropy(a, la), b: crossEntropy(b, lb), gradient: grad(both, b) };
      },
    );
    const out = await f({ a: f32([1, 2, 3, 0, -1, 4], [2, 3]), b: f32([0.5, -1, 2, 2], [2, 2]), la: i32([2, 0]), lb: i32([0, 1]) });
    expect(Number(out.both.data[0])).toBeCloseTo((Number(out.a.data[0]) + Number(out.b.data[0])) / 2, 6);
    expect(Array.from(out.gradient.data, Number).every(Number.isFinite)).toBe(true);
    await f.dispose();
  });

  it("made of others are scored by what they replaced", async () => {
    const turned = { ...plain, scored: (out: Outputs, b: ParamTree) => ({ logits: neg(out.logits!), targets: b.labels! }) };
    for (const other of [turned, defineTask(turned)]) {
      const lossOf = async (task: LearningTask): Promise<number> => {
        const training = await compileTraining({
          engine: await ortEngine({ threads: 1 }),
          ...modelTraining(model, task, { learned: learned(Object.keys(model.params)) }),
          optimizer: adamw(),
        });
        const { loss } = await training.step([batch], { lr: 0, step: 1, keys: [0] });
        await training.dispose();
        return loss!;
      };
      expect(Math.abs((await lossOf(withBatches(other, () => batch))) - (await lossOf(plain)))).toBeGreaterThan(0.01);
    }
  });

  it("language modelling runs its head on the positions that count", () => {
    const sizes = { vocab_size: 17, n_embd: 4, n_layer: 1, n_head: 2, n_positions: 8 };
    const lm = gpt2(sizes, initWeights(gpt2(sizes).info, { seed: 1 }));
    const task = languageModelTask("answers", () => ({ tokens: i32([1, 2, 3, 4], [1, 4]), weights: f32([0, 0, 0, 1], [1, 4]) }));
    expect(Array.from(task.batches(0).scored!.data, Number)).toEqual([2]);
    let shape: readonly unknown[] = [];
    const { loss, frozen } = modelTraining(lm, task, {
      learned: {},
      hooks: () => [
        {
          matches: (s) => s.kind === "head",
          output: (y) => {
            shape = y.shape;
            return y;
          },
        },
      ],
    });
    trace(
      { batch: task.batch, key: { dtype: "i32", shape: [] }, step: { dtype: "f32", shape: [] } },
      ({ batch: b, key, step }, rest) => ({ value: loss(rest, b, { key, step }).loss }),
      frozen,
    );
    expect(shape.map(String)).toEqual(["scored", "17"]);
  });
});
