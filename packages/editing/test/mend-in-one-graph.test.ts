/**
 * The step that trains an editor as MEND does (arXiv 2110.11309) in one graph: gradients of the edited layer in factored form, a small network
 * that turns them into an update, and the losses after it. A test of the mechanism, harder than the method asks: of two facts the second is
 * written into what the first has left, so that a gradient is differentiated.
 */
import {
  adam,
  add,
  compile,
  concat,
  div,
  type Engine,
  f32,
  grad,
  type HostTensor,
  i32,
  klDivergence,
  makeDelta,
  matmul,
  mean,
  mul,
  type Optimizer,
  ortEngine,
  type ParamTree,
  Rng,
  referenceEngine,
  reshape,
  sgd,
  slice,
  sqrt,
  square,
  sum,
  sym,
  type Tensor,
  tanh,
  transpose,
  withDeltas,
} from "@lfm/core";
import { countingEngine } from "@lfm/core/testing";
import { initWeights, llama } from "@lfm/models";
import { compileTraining, initialState, type LossContext, type Training } from "@lfm/train";
import { describe, expect, it } from "vitest";
import { answerLoss, mlpOutSite, rankOneForm } from "../src/index.js";
import { captureSite } from "../src/keys.js";

const VOCAB = 23;
const config = {
  vocab_size: VOCAB,
  hidden_size: 32,
  intermediate_size: 64,
  num_hidden_layers: 2,
  num_attention_heads: 2,
  max_position_embeddings: 32,
};
const model = llama(config, initWeights(llama(config).info, { seed: 3, embeddingStd: 0.5 }));
const site = mlpOutSite(model, 1);
const { name, in: width, out } = site.weight!;

interface Fact {
  readonly tokens: Tensor;
  readonly labels: Tensor;
}

/** −log p(answer) with this weight at the site. */
function factLoss(params: ParamTree, weight: Tensor, { tokens, labels }: Fact): Tensor {
  return answerLoss(model.forward({ ...params, [name]: weight }, { tokens }, { mode: "eval" }).logits!, labels);
}

/** What ∂loss/∂weight is the product of, a row for each token: u f32[seq, in] and δ f32[seq, out]. */
function gradientFactors(params: ParamTree, weight: Tensor, { tokens, labels }: Fact): { readonly u: Tensor; readonly delta: Tensor } {
  const seen: { x: Tensor; y: Tensor }[] = [];
  const capture = captureSite(site, (x, y) => seen.push({ x, y }));
  const { logits } = model.forward({ ...params, [name]: weight }, { tokens }, { mode: "eval", hooks: [capture] });
  const { x, y } = seen[0]!;
  const rows = tokens.dim(1);
  return { u: reshape(x, [rows, width]), delta: reshape(grad(answerLoss(logits!, labels), y), [rows, out]) };
}

const RANK = 8;
function editorWeights(seed: number): Record<string, HostTensor> {
  const rng = new Rng(seed);
  const normal = (shape: readonly number[], std: number): HostTensor =>
    f32(
      Float32Array.from({ length: shape.reduce((a, b) => a * b, 1) }, () => std * rng.normal()),
      shape,
    );
  return { down: normal([width + out, RANK], 0.3), bias: normal([RANK], 0.3), up: normal([RANK, width + out], 0.3), rate: f32([0.5], []) };
}

/** The editor: rows of factors in, rows of an update out; keys f32[seq, in], values f32[seq, out]. */
function updateFactors(editor: ParamTree, u: Tensor, delta: Tensor): { readonly keys: Tensor; readonly values: Tensor } {
  const length = (t: Tensor): Tensor => sqrt(add(sum(square(t), -1, { keepDims: true }), 1e-8));
  const z = concat([div(u, length(u)), div(delta, length(delta))], -1);
  const h = add(z, matmul(tanh(add(matmul(z, editor.down!), editor.bias!)), editor.up!));
  return { keys: slice(h, -1, 0, width), values: mul(mul(slice(h, -1, width, out), length(delta)), mul(editor.rate!, -1)) };
}

/** The weight after the editor has written one fact. */
function edited(editor: ParamTree, params: ParamTree, weight: Tensor, fact: Fact): Tensor {
  const { u, delta } = gradientFactors(params, weight, fact);
  const { keys, values } = updateFactors(editor, u, delta);
  return add(weight, matmul(transpose(values), keys));
}

const row = { dtype: "i32", shape: [1, sym("seq")] } as const;
const batchSpec = {
  first: row,
  firstLabels: row,
  second: row,
  secondLabels: row,
  other: { dtype: "i32", shape: [4, sym("far")] },
} as const;

/** Two facts, the second written into what the first has left: its δ depends on the editor, so that the step differentiates a gradient. */
function editorLoss(
  params: ParamTree,
  b: Readonly<Record<string, Tensor>>,
  _c: LossContext,
): { loss: Tensor; metrics: Record<string, Tensor> } {
  const [one, two] = [
    { tokens: b.first!, labels: b.firstLabels! },
    { tokens: b.second!, labels: b.secondLabels! },
  ];
  const base = params[name]!;
  const once = edited(params, params, base, one);
  const twice = edited(params, params, once, two);
  const far = (weight: Tensor): Tensor => model.forward({ ...params, [name]: weight }, { tokens: b.other! }, { mode: "eval" }).logits!;
  const edit = div(add(factLoss(params, twice, one), factLoss(params, twice, two)), 2);
  const drift = mean(klDivergence(far(base), far(twice)));
  return { loss: add(edit, drift), metrics: { edit, drift } };
}

function train(engine: Engine, optimizer: Optimizer): Promise<Training> {
  return compileTraining({
    engine,
    trainable: editorWeights(1),
    frozen: model.params,
    batch: batchSpec,
    loss: editorLoss,
    optimizer,
    threads: 1,
  });
}

/** Facts about the first six subjects are trained on, those about the last two are not. */
function factOf(rng: Rng, unseen = false): { tokens: HostTensor; labels: HostTensor } {
  const [subject, relation, target] = [unseen ? 8 + rng.int(2) : 2 + rng.int(6), 10 + rng.int(4), 14 + rng.int(9)];
  return { tokens: i32([1, subject, relation, target], [1, 4]), labels: i32([-100, -100, -100, target], [1, 4]) };
}

function batchOf(rng: Rng, unseen = false): Record<keyof typeof batchSpec, HostTensor> {
  const [first, second] = [factOf(rng, unseen), factOf(rng, unseen)];
  const other = i32(
    Array.from({ length: 20 }, () => rng.int(VOCAB)),
    [4, 5],
  );
  return { first: first.tokens, firstLabels: first.labels, second: second.tokens, secondLabels: second.labels, other };
}

type Values = Readonly<Record<string, HostTensor>>;
const flat = (tensors: Values): number[] => Object.keys(editorWeights(1)).flatMap((key) => Array.from(tensors[key]!.data, Number));
function moved(from: Values, by: readonly number[], epsilon: number): Record<string, HostTensor> {
  let at = 0;
  return Object.fromEntries(
    Object.keys(editorWeights(1)).map((key) => {
      const t = from[key]!;
      return [
        key,
        f32(
          Float32Array.from(t.data as Float32Array, (v) => v + epsilon * by[at++]!),
          t.shape,
        ),
      ];
    }),
  );
}

describe("MEND in one graph", () => {
  const start = editorWeights(1);
  const batch = batchOf(new Rng(5));
  const lr = { lr: 1, step: 1, keys: [0] };
  const lossAt = async (training: Training, params: Values): Promise<number> => {
    training.load(initialState({ trainable: params, optimizer: sgd() }));
    return (await training.step([batch], lr)).loss!;
  };
  /** One step of plain descent at rate 1 takes the gradient off. */
  const gradientOf = async (training: Training): Promise<number[]> => {
    await lossAt(training, start);
    const after = flat(training.state().params);
    return flat(start).map((v, i) => v - after[i]!);
  };

  it("the analytic gradient of the editor is that of finite differences", async () => {
    const engine = countingEngine(referenceEngine({ unrounded: true }));
    const training = await train(engine, sgd());
    const gradient = await gradientOf(training);
    const rng = new Rng(2);
    const norm = Math.hypot(...gradient);
    const directions = [
      gradient.map((g) => g / norm),
      ...[1, 2, 3].map(() => gradient.map(() => rng.normal() / Math.sqrt(gradient.length))),
    ];
    for (const direction of directions) {
      const epsilon = 1e-2;
      const [up, down] = [
        await lossAt(training, moved(start, direction, epsilon)),
        await lossAt(training, moved(start, direction, -epsilon)),
      ];
      const numeric = (up - down) / (2 * epsilon);
      const analytic = direction.reduce((s, d, i) => s + d * gradient[i]!, 0);
      expect(Math.abs(analytic - numeric)).toBeLessThan(0.01 * Math.abs(numeric));
    }
    expect(engine.counts.compiled).toBe(1);
    await training.dispose();

    const onnx = await train(await ortEngine({ threads: 1 }), sgd());
    for (const [i, g] of (await gradientOf(onnx)).entries()) expect(Math.abs(g - gradient[i]!)).toBeLessThan(1e-4 * norm);
    await onnx.dispose();
  });

  it("the editor that it trains writes facts that it never saw, as deltas of rank-one changes, and leaves other answers alone", async () => {
    const engine = await ortEngine({ threads: 1 });
    const training = await train(engine, adam());
    const unseen = async (): Promise<number> => {
      const rng = new Rng(11);
      let total = 0;
      for (let i = 0; i < 40; i++) total += (await training.step([batchOf(rng, true)], { lr: 0, step: 1, keys: [0] })).loss!;
      return total / 40;
    };
    const untrained = await unseen();
    training.load(initialState({ trainable: start, optimizer: adam() }));
    const rng = new Rng(7);
    for (let step = 1; step <= 200; step++) await training.step([batchOf(rng)], { lr: 0.01, step, keys: [0] });
    const trained = await unseen();
    expect(trained).toBeLessThan(0.7 * untrained);

    const editor = training.state().params;
    const write = await compile(
      engine,
      { tokens: row, labels: row },
      (fact, frozen: ParamTree) => {
        const { u, delta } = gradientFactors(frozen, frozen[name]!, fact);
        const after = edited(frozen, frozen, frozen[name]!, fact);
        return { ...updateFactors(frozen, u, delta), before: factLoss(frozen, frozen[name]!, fact), after: factLoss(frozen, after, fact) };
      },
      { frozen: { ...model.params, ...editor }, threads: 1 },
    );
    let better = 0;
    for (let i = 0; i < 20; i++) {
      const fact = factOf(new Rng(1000 + i), true);
      const { keys, values, before, after } = await write(fact);
      if (Number(after.data[0]) < 0.5 * Number(before.data[0])) better++;
      if (i > 0) continue;
      const tensors = { [`${site.path}.edit.keys`]: keys, [`${site.path}.edit.values`]: values };
      const delta = makeDelta({ id: "mend", paradigm: "editing", delta: rankOneForm }, {}, tensors);
      const on = withDeltas(model, [delta]);
      const answer = await compile(
        engine,
        { tokens: row, labels: row },
        ({ tokens, labels }, params: ParamTree) => ({ loss: answerLoss(on.forward(params, { tokens }, { mode: "eval" }).logits!, labels) }),
        { frozen: on.params, threads: 1 },
      );
      expect(Number((await answer(fact)).loss.data[0])).toBeCloseTo(Number(after.data[0]), 5);
      await answer.dispose();
    }
    expect(better).toBeGreaterThan(15);
    await write.dispose();
    await training.dispose();
  });
});
