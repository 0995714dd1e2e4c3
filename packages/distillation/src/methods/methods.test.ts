import { f32, i32, isLfmError, type MethodContext, makeDelta, ortEngine, parseConfig, Rng } from "@lfm/core";
import { conformMethod } from "@lfm/core/testing";
import { convnet, initWeights, mlp } from "@lfm/models";
import { arrayClassificationTask, type LearningTask } from "@lfm/train";
import { expect, it } from "vitest";
import type { z } from "zod";
import { promptTask, rowTask, smallBert, smallLlama } from "../../test/small-models.js";
import { throughBytes } from "../../test/through-bytes.js";
import type { DistillationMethod } from "../define-student-method.js";
import type { DistillationInputs } from "../inputs.js";
import { collapseVerdict } from "../mode-collapse.js";
import { attentionTransfer } from "./attention-transfer.js";
import { bornAgain } from "./born-again.js";
import { crd } from "./crd.js";
import { dafl } from "./dafl.js";
import { deepInversion } from "./deep-inversion.js";
import { dfme } from "./dfme.js";
import { dkd } from "./dkd.js";
import { fitnets } from "./fitnets.js";
import { gkd } from "./gkd.js";
import { ideal } from "./ideal.js";
import { logitKd } from "./logit-kd.js";
import { minillm } from "./minillm.js";
import { minilm } from "./minilm.js";
import { pkt } from "./pkt.js";
import { rkd } from "./rkd.js";
import { seqKd } from "./seq-kd.js";
import { similarityPreserving } from "./similarity-preserving.js";
import { tinybert } from "./tinybert.js";
import { zskt } from "./zskt.js";

const config = { image_size: 8, widths: [3, 4], classes: 3 };

const task: LearningTask = arrayClassificationTask("noise", "pixels", [1, 8, 8], (step) => {
  const rng = new Rng(step);
  return { x: f32(rng.normalArray(6 * 64), [6, 1, 8, 8]), labels: i32(Array.from({ length: 6 }, () => rng.int(3))) };
});

const model = (seed: number): ReturnType<typeof convnet> => convnet(config, initWeights(convnet(config).info, { seed }));

const inputs = (): DistillationInputs => ({ teacher: model(1), student: model(2), task, itemShape: [1, 8, 8] });

const context = async (): Promise<MethodContext> => ({
  engine: await ortEngine({ threads: 1 }),
  rng: new Rng(1),
  access: [],
  log: () => {},
  progress: () => {},
});

it("kdWeight 0 is learning from labels alone: the teacher has no part in it", async () => {
  const options = { temperature: 4, kdWeight: 0, steps: 4, lr: 0.01, weightDecay: 0.01, accumulate: 1 };
  const [a, b] = [
    await logitKd.run(inputs(), options, await context()),
    await logitKd.run({ ...inputs(), teacher: model(77) }, options, await context()),
  ];
  expect(a.delta.tensors).toEqual(b.delta.tensors);
  const c = await logitKd.run(inputs(), { ...options, kdWeight: 0.5 }, await context());
  expect(c.delta.tensors).not.toEqual(a.delta.tensors);
});

it("kdWeight 1 is the teacher alone: labels have no part in it", async () => {
  const relabelled = {
    ...task,
    batches: (step: number) => ({ ...task.batches(step), labels: i32(new Array<number>(6).fill(0)) }),
  };
  const options = { temperature: 4, kdWeight: 1, steps: 4, lr: 0.01, weightDecay: 0.01, accumulate: 1 };
  const [a, b] = [
    await logitKd.run(inputs(), options, await context()),
    await logitKd.run({ ...inputs(), task: relabelled }, options, await context()),
  ];
  expect(a.delta.tensors).toEqual(b.delta.tensors);
});

it("the student's batch-norm statistics are learned by both methods and are part of what comes out", async () => {
  const name = "features.0.norm.running_mean";
  const kd = await logitKd.run(
    inputs(),
    { temperature: 4, kdWeight: 0.5, steps: 3, lr: 0.01, weightDecay: 0.01, accumulate: 1 },
    await context(),
  );
  const free = await dafl.run(inputs(), parseConfig(dafl, { steps: 3, batch: 8, noise: 4, width: 4 }), await context());
  for (const { delta, student } of [kd, free]) {
    expect(delta.tensors[name]!.data).not.toEqual((model(2).params[name] as { data: unknown }).data);
    expect(student.params[name]).toBe(delta.tensors[name]);
  }
});

it("data-free: a student learns what a teacher of feature vectors knows, better than any that sees one class only", async () => {
  // The teacher tells the largest of three features; nothing of it is shown but its answers.
  const weights = { "fc1.weight": f32([6, 0, 0, 0, 6, 0, 0, 0, 6], [3, 3]), "fc1.bias": f32([0, 0, 0]) };
  const teacher = mlp({ input_size: 3, hidden_sizes: [], output_size: 3 }, weights);
  const shape = { input_size: 3, hidden_sizes: [12], output_size: 3 };
  const student = mlp(shape, initWeights(mlp(shape).info, { seed: 5 }));
  const options = parseConfig(dafl, { steps: 200, batch: 32, noise: 4, width: 16, lr: 0.01 });
  const output = await dafl.run({ teacher, student, itemShape: [3] }, options, await context());
  const first = output.curves.student![0]![1];
  expect(output.curves.student!.at(-1)![1]).toBeLessThan(0.4 * first);
  expect(output.monitors[0]).toMatchObject({ id: "mode-collapse", warning: false });
});

it("a weight of 0 takes a term out: the plain preset trains without the student's or the statistics' word", async () => {
  const plain = parseConfig(dafl, { steps: 3, batch: 8, noise: 4, width: 4 }, "plain");
  expect([plain.adversarial, plain.batchNorm, plain.match]).toEqual([0, 0, "kl"]);
  const a = await dafl.run(inputs(), plain, await context());
  // Another student: the generator, which does not hear it, makes the same losses.
  const b = await dafl.run({ ...inputs(), student: model(9) }, plain, await context());
  expect(a.curves.generator).toEqual(b.curves.generator);
  expect(a.curves.student).not.toEqual(b.curves.student);
});

it("zskt: a student learns what a teacher of feature vectors knows by disagreement alone", async () => {
  const weights = { "fc1.weight": f32([3, 0, 0, 0, 3, 0, 0, 0, 3], [3, 3]), "fc1.bias": f32([0, 0, 0]) };
  const teacher = mlp({ input_size: 3, hidden_sizes: [], output_size: 3 }, weights);
  const shape = { input_size: 3, hidden_sizes: [12], output_size: 3 };
  const student = mlp(shape, initWeights(mlp(shape).info, { seed: 5 }));
  const options = parseConfig(zskt, { steps: 200, batch: 32, noise: 4, width: 16, lr: 0.01 });
  const { curves } = await zskt.run({ teacher, student, itemShape: [3] }, options, await context());
  expect(curves.agreement!.at(-1)![1]).toBeLessThan(0.4 * curves.agreement![0]![1]);
});

it("deep-inversion: a student learns from what the teacher finds typical, and has a word in it from the second round", async () => {
  const weights = { "fc1.weight": f32([3, 0, 0, 0, 3, 0, 0, 0, 3], [3, 3]), "fc1.bias": f32([0, 0, 0]) };
  const teacher = mlp({ input_size: 3, hidden_sizes: [], output_size: 3 }, weights);
  const shape = { input_size: 3, hidden_sizes: [12], output_size: 3 };
  const given = { teacher, student: mlp(shape, initWeights(mlp(shape).info, { seed: 5 })), itemShape: [3] };
  const own = { rounds: 2, batch: 30, iterations: 20, steps: 60, lr: 0.02 };
  const { curves, monitors, delta } = await deepInversion.run(given, parseConfig(deepInversion, own), await context());
  expect(curves.loss!.map(([step]) => step)).toEqual(Array.from({ length: 60 }, (_, i) => i));
  expect(curves.loss!.at(-1)![1]).toBeLessThan(0.4 * curves.loss![0]![1]);
  // Ten of each class were wanted in each round, and the teacher sees them.
  expect(monitors[0]!.value).toBeGreaterThan(0.95);
  const plain = await deepInversion.run(given, parseConfig(deepInversion, own, "plain"), await context());
  expect(plain.curves.loss!.slice(0, 30)).toEqual(curves.loss!.slice(0, 30));
  expect(plain.delta.tensors).not.toEqual(delta.tensors);
});

it("a teacher without batch norm: the term of its statistics is left out, aloud", async () => {
  const net = mlp({ input_size: 3, hidden_sizes: [4], output_size: 3 });
  const fresh = (seed: number): typeof net => ({ ...net, params: initWeights(net.info, { seed }) });
  const said: string[] = [];
  const options = parseConfig(dafl, { steps: 2, batch: 8, noise: 4, width: 4 }, "dfq");
  const own = { ...(await context()), log: (message: string) => said.push(message) };
  const given = { teacher: fresh(1), student: fresh(2), itemShape: [3] };
  const with1 = await dafl.run(given, options, own);
  expect(said).toEqual([expect.stringContaining("no batch norm")]);
  const without = await dafl.run(given, { ...options, batchNorm: 0 }, await context());
  expect(with1.delta.tensors).toEqual(without.delta.tensors);
});

it("mode collapse: entropy of the classes as a share of even, warned of below .8", () => {
  expect(collapseVerdict([10, 10, 10, 10])).toMatchObject({ value: 1, warning: false });
  expect(collapseVerdict([40, 0, 0, 0])).toMatchObject({ value: 0, warning: true });
  const half = collapseVerdict([20, 20, 0, 0]);
  expect(half.value).toBeCloseTo(0.5, 10);
  expect(half.message).toContain("2 of 4 classes");
});

it("names what is missing", async () => {
  const { teacher, student } = inputs();
  const own = await context();
  await expect(
    logitKd.run({ teacher, student }, { temperature: 4, kdWeight: 0.5, steps: 1, lr: 1, weightDecay: 0.01, accumulate: 1 }, own),
  ).rejects.toSatisfy((e) => isLfmError(e, "CONFIG_INVALID"));
  await expect(dafl.run({ teacher, student }, parseConfig(dafl, {}), own)).rejects.toSatisfy((e) => isLfmError(e, "CONFIG_INVALID"));
});

const rows = (): DistillationInputs => ({ teacher: smallBert(1), student: smallBert(2, { layers: 1 }), task: rowTask() });
const texts = (): DistillationInputs => ({ teacher: smallLlama(1), student: smallLlama(2), task: promptTask() });

it.each<readonly [DistillationMethod<z.ZodObject>, () => DistillationInputs, Readonly<Record<string, unknown>>]>([
  [logitKd, inputs, { steps: 3 }],
  [dkd, inputs, { steps: 3 }],
  [fitnets, inputs, { steps: 3 }],
  [attentionTransfer, inputs, { steps: 3 }],
  [rkd, inputs, { steps: 3 }],
  [similarityPreserving, inputs, { steps: 3 }],
  [pkt, inputs, { steps: 3 }],
  [crd, inputs, { steps: 3, negatives: 8, size: 4 }],
  [bornAgain, inputs, { steps: 2 }],
  [minilm, rows, { steps: 3 }],
  [tinybert, rows, { steps: 3 }],
  [seqKd, texts, { steps: 3, maxNewTokens: 2 }],
  [gkd, texts, { steps: 3, maxNewTokens: 2 }],
  [minillm, texts, { steps: 3, maxNewTokens: 2 }],
  [dafl, inputs, { steps: 3, batch: 8, noise: 4, width: 4 }],
  [deepInversion, inputs, { rounds: 2, batch: 6, iterations: 2, steps: 2, studentBatch: 4 }],
  [zskt, inputs, { steps: 3, every: 2, batch: 8, noise: 4, width: 4, layers: ["0=0"] }],
  [ideal, inputs, { queries: 12, batch: 8, noise: 4, width: 4, studentSteps: 2 }],
  [dfme, inputs, { queries: 28, batch: 8, noise: 4, width: 4, studentSteps: 2 }],
])("$id keeps the contract of methods", async (method, given, config) => {
  const passed = await conformMethod(method, {
    engine: await ortEngine({ threads: 1 }),
    inputs: given,
    config,
    observe: (output) => output.delta.tensors,
    reload: async (output) => ({ ...output, delta: makeDelta(method, {}, throughBytes(output.delta.tensors)) }),
  });
  expect(passed.length).toBeGreaterThan(5);
});

it("other classes of the teacher are refused before any work, and labels alone need no teacher", async () => {
  const four = convnet({ ...config, classes: 4 });
  const other = { ...inputs(), teacher: { ...four, params: initWeights(four.info, { seed: 1 }) } };
  const options = { temperature: 4, steps: 1, lr: 0.01, weightDecay: 0.01, accumulate: 1 };
  await expect(logitKd.run(other, { ...options, kdWeight: 0.5 }, await context())).rejects.toMatchObject({
    code: "CONFIG_INVALID",
    message: expect.stringContaining("4 classes apart, the student 3"),
  });
  await logitKd.run(other, { ...options, kdWeight: 0 }, await context());
});

it.each<DistillationMethod<z.ZodObject>>([deepInversion, dafl, zskt, ideal, dfme])(
  "$id invents numbers: a teacher of text is refused by name before any work",
  async (method) => {
    // Neither weights nor an engine: whoever began to work would fail at them.
    const { engine, ...own } = await context();
    const idle = { ...own, engine: { ...engine, compile: () => Promise.reject(new Error("work began")) } };
    const text = { ...smallBert(1), params: {} };
    const refused = method.run({ teacher: text, student: model(2), itemShape: [1, 8, 8] }, parseConfig(method, {}), idle);
    await expect(refused).rejects.toMatchObject({
      code: "CAPABILITY_MISSING",
      message: expect.stringMatching(`${method.id} invents numbers, and bert reads tokens`),
      hint: expect.stringContaining("pictures"),
    });
  },
);
