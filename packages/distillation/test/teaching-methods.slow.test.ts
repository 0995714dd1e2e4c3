import { type AnyMethod, compile, div, type Model, runMethod, sum, type Tensor } from "@lfm/core";
import { describe, expect, it } from "vitest";
import {
  attentionTransfer,
  attentionTransferLoss,
  bornAgain,
  crd,
  type DistillationInputs,
  type DistillationOutput,
  decoupledLoss,
  distanceRelationLoss,
  dkd,
  fitnets,
  logitKd,
  minilm,
  pkt,
  probabilisticTransferLoss,
  rkd,
  similarityLoss,
  similarityPreserving,
  tinybert,
} from "../src/index.js";
import { distance, imageTask, oneBatch, rowTask, smallBert, smallConvnet, testContext } from "./small-models.js";

type Options = Readonly<Record<string, unknown>>;
const run = async (method: AnyMethod, inputs: DistillationInputs, options: Options): Promise<DistillationOutput> =>
  (await runMethod(method, inputs, options, await testContext())) as DistillationOutput;
const rows = (padding = 0): DistillationInputs => ({
  teacher: smallBert(1, { layers: 4, hidden: 12 }),
  student: smallBert(2),
  task: rowTask(padding),
});
const first = (output: DistillationOutput, term = "loss"): number => output.curves[term]![0]![1];

/** Every method whose student learns on data, with the term that is its own. */
const methods: readonly (readonly [AnyMethod, string, Options])[] = [
  [logitKd, "loss", {}],
  [dkd, "decoupled", {}],
  [fitnets, "hint", {}],
  [attentionTransfer, "attention", {}],
  [rkd, "distance", {}],
  [similarityPreserving, "similarity", {}],
  [pkt, "neighbours", {}],
  [crd, "contrast", { negatives: 8, size: 4 }],
  [bornAgain, "loss", { generations: 1 }],
  [minilm, "relation", {}],
  [tinybert, "hidden", {}],
];

describe("every method on data", () => {
  it.each(methods.map((m) => [m[0].id, ...m] as const))("%s learns, and padding has no part in it", async (_id, method, term, options) => {
    const { task, ...models } = rows();
    const short = await run(method, { ...models, task: oneBatch(task!) }, { steps: 6, lr: 0.003, ...options });
    const long = await run(method, rows(9), { steps: 1, ...options });
    expect(Math.abs(first(long, term) / first(short, term) - 1)).toBeLessThan(1e-5);
    expect(short.curves[term]!.at(-1)![1]).toBeLessThan(first(short, term));
  });

  // Relations between the examples of a batch are of that batch alone.
  const byExample = methods.filter(([m]) => ![rkd, similarityPreserving, pkt, crd].includes(m as typeof rkd));
  it.each(byExample.map((m) => [m[0].id, ...m] as const))(
    "%s: two halves make the step of one batch",
    async (_id, method, _term, options) => {
      const halves = rowTask(0, (number) => ({ batch: Math.floor(number / 2), rows: number % 2 === 0 ? [0, 1] : [2, 3] }));
      const whole = await run(method, rows(), { steps: 2, ...options });
      const split = await run(method, { ...rows(), task: halves }, { steps: 2, accumulate: 2, ...options });
      const apart = (step: number): number => Math.abs(split.curves.loss![step]![1] / whole.curves.loss![step]![1] - 1);
      expect(apart(0)).toBeLessThan(1e-6);
      // AdamW divides gradients by their size: of parameters that hardly matter (biases of keys) it makes steps of their rounding.
      expect(apart(1)).toBeLessThan(1e-5);
    },
  );
});

describe("what a term is of", () => {
  /** A function of the answers of both models to the first batch. */
  const expected = async (
    { teacher, student, task }: DistillationInputs,
    f: (t: ReturnType<Model["forward"]>, s: ReturnType<Model["forward"]>, batch: Readonly<Record<string, Tensor>>) => Tensor,
  ): Promise<number> => {
    const batch = task!.batches(0);
    const types = Object.fromEntries(Object.entries(batch).map(([name, { dtype, shape }]) => [name, { dtype, shape }]));
    const want = { attentions: true, hidden: true };
    const compiled = await compile(
      (await testContext()).engine,
      types,
      (b, { t, s }) => ({
        value: f(
          teacher.forward(t, task!.input(b), { mode: "eval", want }),
          student.forward(s, task!.input(b), { mode: "train", want }),
          b,
        ),
      }),
      { frozen: { t: teacher.params, s: student.params } },
    );
    return Number((await compiled(batch)).value.data[0]);
  };
  const once = { steps: 1 };

  it("dkd: the logits", async () => {
    const weights = { target: 1, others: 8, temperature: 4 };
    const want = await expected(rows(), (t, s, b) => decoupledLoss(t.logits!, s.logits!, b.labels!, weights));
    expect(first(await run(dkd, rows(), once), "decoupled") / want).toBeCloseTo(1, 4);
  });

  it("rkd, similarity-preserving and pkt: what is pooled", async () => {
    const inputs = { teacher: smallConvnet(1), student: smallConvnet(2, [3, 2]), task: imageTask };
    for (const [method, term, loss, weight] of [
      [rkd, "distance", distanceRelationLoss, 25],
      [similarityPreserving, "similarity", similarityLoss, 3000],
      [pkt, "neighbours", probabilisticTransferLoss, 30000],
    ] as const) {
      const want = await expected(inputs, (t, s) => loss(t.pooled!, s.pooled!));
      expect(first(await run(method, inputs, once), term) / (weight * want)).toBeCloseTo(1, 4);
    }
  });

  it("attention-transfer: maps of the layers that were named, rows alike however long they are", async () => {
    const inputs = rows();
    const want = await expected(inputs, (t, s, b) => {
      const positions = { mask: b.mask!, weights: div(b.mask!, sum(b.mask!, 1, { keepDims: true })) };
      return attentionTransferLoss(t.hidden![3]!, s.hidden![2]!, "paper", positions);
    });
    const options = { ...once, form: "paper", attention: 1, layers: ["1=2"] };
    expect(first(await run(attentionTransfer, inputs, options), "attention")).toBeCloseTo(want, 5);
  });

  it("a student that is the teacher has nothing to learn", async () => {
    const same = { teacher: smallBert(1), student: smallBert(1), task: rowTask() };
    for (const [method, term] of [
      [dkd, "decoupled"],
      [rkd, "angle"],
      [similarityPreserving, "similarity"],
      [pkt, "neighbours"],
      [attentionTransfer, "attention"],
      [minilm, "relation"],
      [tinybert, "attention"],
    ] as const)
      expect(first(await run(method, same, once), term), method.id).toBeCloseTo(0, 3);
  });

  it("minilm: relations of the last layers, of models with other heads", async () => {
    const inputs = {
      teacher: smallBert(1, { layers: 3, hidden: 12, heads: 3 }),
      student: smallBert(2, { hidden: 6, heads: 1 }),
      task: rowTask(),
    };
    expect(first(await run(minilm, inputs, { ...once, heads: 3 }), "relation")).toBeGreaterThan(0);
    await expect(run(minilm, inputs, { ...once, heads: 4 })).rejects.toMatchObject({ code: "CONFIG_INVALID", hint: "--heads 2" });
  });

  it("born-again: the second generation is taught by the first", async () => {
    const inputs = { teacher: smallBert(1), student: smallBert(2), task: rowTask() };
    const options = { steps: 3, lr: 0.01 };
    const one = await run(bornAgain, inputs, { ...options, generations: 1 });
    const two = await run(bornAgain, inputs, { ...options, generations: 2 });
    const by = await run(bornAgain, { ...inputs, teacher: one.student }, { ...options, generations: 1 });
    expect(two.curves.loss!.map(([step]) => step)).toEqual([0, 1, 2, 3, 4, 5]);
    expect(two.curves.loss!.slice(3).map(([, v]) => v)).toEqual(by.curves.loss!.map(([, v]) => v));
    expect(distance(two.delta.tensors, by.delta.tensors)).toBe(0);
  });
});

describe("what does not go together is said before any work", () => {
  it("layers", async () => {
    await expect(run(fitnets, rows(), { layers: ["0"] })).rejects.toMatchObject({ hint: expect.stringContaining("STUDENT=TEACHER") });
    await expect(run(fitnets, rows(), { layers: ["7=0"] })).rejects.toMatchObject({ hint: expect.stringContaining("0…1") });
    await expect(run(tinybert, { ...rows(), student: smallBert(2, { heads: 1 }) }, {})).rejects.toMatchObject({
      message: expect.stringContaining("head by head"),
    });
  });

  it("sizes of images, and inputs of other kinds", async () => {
    const images = { teacher: smallConvnet(1), student: smallConvnet(2), task: imageTask };
    await expect(run(rkd, { ...images, student: smallBert(2) }, {})).rejects.toMatchObject({
      message: expect.stringContaining("reads pixels, the student tokens"),
    });
  });

  it("maps of other sizes are averaged to the smaller", async () => {
    const images = { teacher: smallConvnet(1), student: smallConvnet(2), task: imageTask };
    const mixed = await run(attentionTransfer, images, { steps: 1, layers: ["1=0"] });
    expect(first(mixed, "attention")).toBeGreaterThan(0);
  });
});
