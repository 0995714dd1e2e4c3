import { compile, f32, type HostTensor, i32, isLfmError, makeDelta, ortEngine, Rng, referenceEngine } from "@lfm/core";
import { conformMethod } from "@lfm/core/testing";
import { convnet, initWeights } from "@lfm/models";
import { arrayClassification, arrayRegression } from "@lfm/train";
import { expect, it } from "vitest";
import { throughBytes } from "../../test/through-bytes.js";
import type { Episode, MetaInputs } from "../inputs.js";
import { negativeSquaredDistances, prototypes } from "../metric/heads.js";
import { protonet } from "./protonet.js";

const config = { image_size: 8, widths: [4, 6], classes: 7 };

/** Classes are bright spots at different places under noise. */
function spots(seed: number, ways: number, shots: number, queries: number): Episode {
  const rng = new Rng(seed);
  const places = rng.sample(
    Array.from({ length: 16 }, (_, i) => i),
    ways,
  );
  const draw = (count: number): { x: HostTensor; labels: HostTensor } => {
    const labels = Array.from({ length: ways * count }, (_, i) => i % ways);
    const x = rng.normalArray(labels.length * 64, 0.5);
    labels.forEach((k, i) => {
      const [row, column] = [Math.floor(places[k]! / 4) * 2, (places[k]! % 4) * 2];
      for (const [r, c] of [
        [0, 0],
        [0, 1],
        [1, 0],
        [1, 1],
      ] as const)
        x[i * 64 + (row + r) * 8 + column + c]! += 2;
    });
    return { x: f32(x, [labels.length, 1, 8, 8]), labels: i32(labels) };
  };
  return { support: draw(shots), query: draw(queries) };
}

const inputs = (): MetaInputs => ({
  model: convnet(config, initWeights(convnet(config).info, { seed: 3 })),
  task: arrayClassification("spots", "pixels", [1, 8, 8]),
  ways: 4,
  episodes: (step) => [spots(100 + step, 4, 2, 3)],
});

it("a hand-worked case: means, squared distances, their softmax", async () => {
  const f = await compile(
    referenceEngine(),
    { s: { dtype: "f32", shape: [3, 2] }, l: { dtype: "i32", shape: [3] }, q: { dtype: "f32", shape: [2, 2] } },
    ({ s, l, q }) => {
      const c = prototypes(s, l, 2);
      return { c, d: negativeSquaredDistances(q, c) };
    },
  );
  // Class 0: (0, 0) and (2, 2) → (1, 1); class 1: (4, 0).
  const { c, d } = await f({ s: f32([0, 0, 4, 0, 2, 2], [3, 2]), l: i32([0, 1, 0]), q: f32([1, 2, 4, 1], [2, 2]) });
  expect(Array.from(c.data, Number)).toEqual([1, 1, 4, 0]);
  expect(Array.from(d.data, Number)).toEqual([-1, -13, -9, -1]);
});

function accuracy(answers: readonly HostTensor[], episodes: readonly Episode[]): number {
  let [right, all] = [0, 0];
  answers.forEach((y, i) => {
    const [n, ways] = y.shape as readonly [number, number];
    for (let q = 0; q < n; q++) {
      const row = (y.data as Float32Array).slice(q * ways, (q + 1) * ways);
      if (row.indexOf(Math.max(...row)) === Number(episodes[i]!.query.labels!.data[q])) right++;
      all++;
    }
  });
  return right / all;
}

it("learns an embedding that answers episodes of other sizes than it was trained on; norm is honoured; the head is left alone", async () => {
  const context = { engine: await ortEngine({ threads: 1 }), rng: new Rng(1), access: [], log: () => {}, progress: () => {} };
  const given = inputs();
  const options = { steps: 60, lr: 0.01, halveEvery: 30, norm: "none" } as const;
  const trained = await protonet.run(given, options, context);
  const fresh = await protonet.run(given, { ...options, steps: 1, lr: 1e-9 }, context);
  const test = Array.from({ length: 40 }, (_, i) => spots(5000 + i, 5, 1, 4));
  const [after, before] = [accuracy(await trained.predict(test), test), accuracy(await fresh.predict(test), test)];
  expect(after).toBeGreaterThan(0.8);
  expect(after).toBeGreaterThan(before + 0.05);
  expect(Object.keys(trained.delta.tensors)).not.toContain("classifier.weight");
  expect(trained.delta.tensors["features.0.norm.running_mean"]!.data).not.toEqual(given.model.params["features.0.norm.running_mean"]);
  const transductive = await protonet.run(given, { ...options, norm: "transductive" }, context);
  expect(transductive.delta.tensors).toEqual(trained.delta.tensors);
  expect(await transductive.predict(test.slice(0, 1))).not.toEqual(await trained.predict(test.slice(0, 1)));
});

it("reads an episode's classes as the task does, and refuses to answer episodes of different numbers of classes at once", async () => {
  const context = { engine: await ortEngine({ threads: 1 }), rng: new Rng(1), access: [], log: () => {}, progress: () => {} };
  const options = { steps: 1, lr: 1e-9, halveEvery: 0, norm: "none" } as const;
  const given = inputs();
  // The place of a picture comes before its class: an integer of one axis, too.
  const placed = (e: Episode): Episode => {
    const half = (b: Episode["support"]): Episode["support"] => ({ place: i32(new Array<number>(b.labels!.data.length).fill(40)), ...b });
    return { support: half(e.support), query: half(e.query) };
  };
  const test = [spots(1, 4, 2, 3), spots(2, 4, 2, 3)];
  const task = { ...given.task, batch: { place: given.task.batch.labels!, ...given.task.batch } };
  const plain = await (await protonet.run(given, options, context)).predict(test);
  const { predict } = await protonet.run(
    { ...given, task, episodes: async (step) => (await given.episodes(step)).map(placed) },
    options,
    context,
  );
  expect(plain[0]!.shape).toEqual([12, 4]);
  expect(await predict(test.map(placed))).toEqual(plain);
  const fewer = { ...test[1]!, support: { ...test[1]!.support, labels: i32([0, 1, 2, 0, 1, 2, 0, 1]) } };
  await expect(predict([test[0]!, fewer].map(placed))).rejects.toMatchObject({ code: "SHAPE_MISMATCH" });
});

it("refuses regression, and episodes of different sizes", async () => {
  const context = { engine: referenceEngine(), rng: new Rng(1), access: [], log: () => {}, progress: () => {} };
  const options = { steps: 1, lr: 0.01, halveEvery: 0, norm: "none" } as const;
  const values = arrayRegression("values", "pixels", [1, 8, 8], 1);
  const valued = ({ x, labels }: Episode["support"]): Episode["support"] => ({
    x: x!,
    y: f32(Array.from(labels!.data, Number), [labels!.data.length, 1]),
  });
  const curves = (): Episode[] => [spots(1, 4, 2, 3)].map((e) => ({ support: valued(e.support), query: valued(e.query) }));
  await expect(protonet.run({ ...inputs(), task: values, episodes: curves }, options, context)).rejects.toSatisfy((e) =>
    isLfmError(e, "CONFIG_INVALID"),
  );
  const uneven = { ...inputs(), episodes: () => [spots(1, 4, 1, 2), spots(2, 4, 2, 2)] };
  await expect(protonet.run(uneven, options, context)).rejects.toSatisfy((e) => isLfmError(e, "SHAPE_MISMATCH"));
});

it("keeps the contract of methods", async () => {
  const passed = await conformMethod(protonet, {
    engine: await ortEngine({ threads: 1 }),
    inputs,
    config: { steps: 3 },
    observe: (output) => output.delta.tensors,
    reload: async (output) => ({ ...output, delta: makeDelta(protonet, protonet.config.parse({}), throughBytes(output.delta.tensors)) }),
  });
  expect(passed.length).toBeGreaterThan(5);
});
