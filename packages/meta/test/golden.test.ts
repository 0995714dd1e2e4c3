import { readFileSync } from "node:fs";
import {
  compile,
  crossEntropy,
  type Engine,
  f32,
  grad,
  type HostTensor,
  i32,
  type Model,
  ortEngine,
  Rng,
  referenceEngine,
} from "@lfm/core";
import { mlp } from "@lfm/models";
import { arrayClassification, arrayRegression } from "@lfm/train";
import { describe, expect, it } from "vitest";
import { adaptedAnswers } from "../src/gradient/adapted-answers.js";
import { plainDescent } from "../src/gradient/moves.js";
import { type Order, outerLoss } from "../src/gradient/outer-loss.js";
import type { Episode, MetaInputs } from "../src/inputs.js";
import { maml } from "../src/methods/maml.js";
import { negativeSquaredDistances, prototypes } from "../src/metric/heads.js";
import { deviation, metaGradient, type Numbers, numbers, opaque } from "./meta-gradient.js";

interface Gradients {
  readonly loss: number;
  readonly answers: Numbers;
  readonly grad: Record<string, Numbers>;
}
interface Case {
  readonly kind: "regression" | "classification";
  readonly innerLr: number;
  readonly innerSteps: number;
  readonly params: Record<string, Numbers>;
  readonly tasks: readonly Record<"sx" | "sy" | "qx" | "qy", Numbers>[];
  readonly maml: Gradients;
  readonly fomaml: Gradients;
}

const read = <T>(name: string): T => JSON.parse(readFileSync(new URL(`golden/gradients/${name}.json`, import.meta.url), "utf8")) as T;
const tensor = ({ shape, data }: Numbers): HostTensor => f32(data, shape);

function problem(c: Case): { inputs: MetaInputs; episodes: readonly Episode[]; params: Record<string, HostTensor> } {
  const values = c.kind === "regression";
  const half = (x: Numbers, y: Numbers): Episode["support"] =>
    values ? { x: tensor(x), y: tensor(y) } : { x: tensor(x), labels: i32(y.data, y.shape) };
  const params = Object.fromEntries(Object.entries(c.params).map(([name, n]) => [name, tensor(n)]));
  const episodes = c.tasks.map((t) => ({ support: half(t.sx, t.sy), query: half(t.qx, t.qy) }));
  const task = values ? arrayRegression("golden", "features", [2], 1) : arrayClassification("golden", "features", [2]);
  const outputs = c.kind === "regression" ? 1 : 3;
  const model = mlp({ input_size: 2, hidden_sizes: [8, 6], output_size: outputs, activation: "tanh" }, params);
  return { inputs: { model, task, ways: 3, episodes: () => episodes }, episodes, params };
}

async function found(engine: Engine, c: Case, model: Model, order: Order): Promise<Omit<Gradients, "answers">> {
  const { params, episodes, inputs } = problem(c);
  const loop = { steps: c.innerSteps, move: plainDescent(c.innerLr) };
  const reader = { model, task: inputs.task, norm: "transductive" } as const;
  return metaGradient(engine, reader, Object.keys(params), params, episodes, (groups, p) => outerLoss(groups, loop, p, order));
}

function expectSame(got: Omit<Gradients, "answers">, want: Gradients, tolerance: number): void {
  expect(Math.abs(got.loss - want.loss)).toBeLessThan(tolerance);
  for (const [name, g] of Object.entries(want.grad)) expect(deviation(got.grad[name]!, g), name).toBeLessThan(tolerance);
}

describe.each(["regression", "classification"] as const)("MAML, %s", (kind) => {
  const c = read<Case>(kind);

  it.each([
    ["maml", "exact"],
    ["fomaml", "first"],
  ] as const)("the meta-gradient of %s is torch's, with a task axis and unrolled: %s", async (name, order) => {
    const engine = await ortEngine({ threads: 1 });
    const { inputs } = problem(c);
    for (const model of [inputs.model, opaque(inputs.model)]) expectSame(await found(engine, c, model, order), c[name], 1e-5);
  });

  it("is torch's by products with Hessians too", async () => {
    const { inputs } = problem(c);
    expectSame(await found(await ortEngine({ threads: 1 }), c, inputs.model, "hvp"), c.maml, 1e-5);
    expectSame(await found(referenceEngine(), c, opaque(inputs.model), "hvp"), c.maml, 1e-5);
  });

  it("is the same on the f64 reference", async () => {
    const { inputs } = problem(c);
    expectSame(await found(referenceEngine(), c, inputs.model, "exact"), c.maml, 1e-5);
  });

  it("first order leaves something out", () => {
    const worst = Math.max(...Object.keys(c.maml.grad).map((n) => deviation(c.fomaml.grad[n]!, c.maml.grad[n]!)));
    expect(worst).toBeGreaterThan(0.01);
    expect(c.fomaml.loss).toBeCloseTo(c.maml.loss, 6);
  });

  it("answers new tasks as torch does after the same steps, in groups that do not come out even", async () => {
    const { inputs, episodes, params } = problem(c);
    const options = { steps: c.innerSteps, lr: c.innerLr, group: 3, threads: 1 };
    const answers = await adaptedAnswers(inputs, params, episodes, options, { engine: await ortEngine({ threads: 1 }) });
    expect(answers).toHaveLength(4);
    const data = answers.flatMap((y) => Array.from(y.data, Number));
    expect(deviation({ shape: c.maml.answers.shape, data }, c.maml.answers)).toBeLessThan(1e-4);
  });
});

it("a step of the method is one Adam step along that gradient", async () => {
  const c = read<Case>("regression");
  const { inputs, params } = problem(c);
  const config = {
    innerLr: c.innerLr,
    innerSteps: c.innerSteps,
    evalSteps: 1,
    order: "exact" as const,
    norm: "transductive" as const,
    metaLr: 0.01,
    steps: 1,
    threads: 1,
    schedule: "constant" as const,
    clipNorm: 1e6,
  };
  const context = { engine: await ortEngine(), rng: new Rng(1), access: [], log: () => {}, progress: () => {} };
  const output = await maml.run(inputs, config, context);
  expect(output.curves.loss![0]![1]).toBeCloseTo(c.maml.loss, 5);
  for (const [name, g] of Object.entries(c.maml.grad)) {
    // Adam's first step: −lr · g / (|g| + ε)
    const want = g.data.map((v, i) => Number(params[name]!.data[i]) - (0.01 * v) / (Math.abs(v) + 1e-8));
    expect(
      deviation({ shape: g.shape, data: Array.from(output.delta.tensors[name]!.data, Number) }, { shape: g.shape, data: want }),
    ).toBeLessThan(1e-4);
  }
});

it("ProtoNet's loss and its gradients are torch's", async () => {
  const c = read<{
    support: Numbers;
    query: Numbers;
    labels: number[];
    answers: number[];
    logits: Numbers;
    loss: number;
    grad: Record<"support" | "query", Numbers>;
  }>("protonet");
  const f = await compile(
    await ortEngine({ threads: 1 }),
    {
      support: { dtype: "f32", shape: [6, 4] },
      query: { dtype: "f32", shape: [5, 4] },
      labels: { dtype: "i32", shape: [6] },
      answers: { dtype: "i32", shape: [5] },
    },
    ({ support, query, labels, answers }) => {
      const logits = negativeSquaredDistances(query, prototypes(support, labels, 3));
      const loss = crossEntropy(logits, answers);
      return { logits, loss, grad: grad(loss, { support, query }) };
    },
  );
  const out = await f({ support: tensor(c.support), query: tensor(c.query), labels: i32(c.labels), answers: i32(c.answers) });
  await f.dispose();
  expect(Number(out.loss.data[0])).toBeCloseTo(c.loss, 4);
  expect(deviation(numbers(out.logits), c.logits)).toBeLessThan(1e-5);
  for (const part of ["support", "query"] as const) expect(deviation(numbers(out.grad[part]), c.grad[part])).toBeLessThan(1e-4);
});
