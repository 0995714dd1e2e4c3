import { readFileSync } from "node:fs";
import { join } from "node:path";
import {
  compile,
  type Engine,
  grad,
  type Hook,
  type HostTensor,
  hookInput,
  loadWeight,
  type MethodContext,
  type ModelInput,
  makeDelta,
  type Outputs,
  ortEngine,
  type ParamTree,
  parseConfig,
  Rng,
  runMethod,
  type Site,
  type Tensor,
} from "@lfm/core";
import { readSafetensors, readWeights } from "@lfm/formats";
import { modelFromConfig, withClassifier } from "@lfm/models";
import type { Batch, LossResult, TaskForward, TaskShape } from "@lfm/train";
import { beforeAll, describe, expect, it } from "vitest";
import { type CompletionRow, dpo, type JudgedRow, kto, lora, objectiveTask, orpo, type PairRow, reward } from "../src/index.js";

interface Case {
  readonly name: string;
  readonly loss: number;
  readonly margin?: number;
  readonly accuracy?: number;
}
interface Golden {
  readonly steps: {
    readonly lr: number;
    readonly weightDecay: number;
    readonly lora: { readonly r: number; readonly loraAlpha: number; readonly targetModules: string[] };
    readonly losses: Readonly<Record<string, readonly number[]>>;
  };
  readonly beta: number;
  readonly prompts: readonly (readonly number[])[];
  readonly chosen: readonly (readonly number[])[];
  readonly rejected: readonly (readonly number[])[];
  readonly labels: readonly boolean[];
  readonly dpo: readonly (Case & {
    readonly lossType: "sigmoid" | "robust" | "hinge" | "ipo";
    readonly labelSmoothing: number;
    readonly gradient?: string;
  })[];
  readonly kto: readonly (Case & { readonly desirableWeight: number; readonly undesirableWeight: number; readonly kl: number })[];
  readonly orpo: readonly (Case & { readonly likelihood: number })[];
  readonly reward: readonly (Case & { readonly margins: readonly number[]; readonly centerRewards: number })[];
}

const folder = join(import.meta.dirname, "golden/preferences");
const golden = JSON.parse(readFileSync(join(folder, "golden.json"), "utf8")) as Golden;
const { tensors } = readSafetensors(join(folder, "golden.safetensors"));
const get = (name: string): HostTensor => loadWeight(tensors[name]!);

const rowOf = (prompt: readonly number[], completion: readonly number[]): CompletionRow => ({
  ids: [...prompt, ...completion],
  weights: [...prompt.map(() => 0), ...completion.map(() => 1)],
  whole: prompt.length + completion.length,
  head: prompt.length,
  room: 100,
});
const pairs: readonly PairRow[] = golden.prompts.map((prompt, i) => ({
  chosen: rowOf(prompt, golden.chosen[i]!),
  rejected: rowOf(prompt, golden.rejected[i]!),
  margin: 0,
}));
const judged: readonly JudgedRow[] = golden.prompts.map((prompt, i) => ({
  ...rowOf(prompt, golden.chosen[i]!),
  desirable: golden.labels[i]!,
}));
const all = golden.prompts.map((_, i) => i);
const head: Site = { path: "head", kind: "head" };

let engine: Engine;
beforeAll(async () => {
  engine = await ortEngine({ threads: 1 });
});

/** Loss, metrics and gradient of a task whose model answers with stored logits. @param answers of the model with what learns, and of its base */
async function lossOf(
  task: TaskShape,
  batch: Batch,
  logits: Readonly<Record<string, HostTensor>>,
  answers: (input: ModelInput, logits: ParamTree, batch: Batch<Tensor>) => { readonly own: Tensor; readonly base: Tensor },
): Promise<{ readonly values: Readonly<Record<string, number>>; readonly gradient: HostTensor }> {
  const specOf = (given: Batch): Record<string, { dtype: HostTensor["dtype"]; shape: readonly number[] }> =>
    Object.fromEntries(Object.entries(given).map(([name, { dtype, shape }]) => [name, { dtype, shape }]));
  expect(Object.keys(batch).sort()).toEqual(Object.keys(task.batch).sort());
  const f = await compile(engine, { batch: specOf(batch), logits: specOf(logits) }, (inputs) => {
    const pass =
      (which: "own" | "base") =>
      (input: ModelInput, hooks: readonly Hook[] = []): Outputs => {
        const found = answers(input, inputs.logits, inputs.batch)[which];
        return { logits: found.rank === 3 ? hookInput(found, head, { mode: "train", hooks, prefix: 0 }) : found, prefix: 0 };
      };
    const context = { key: inputs.logits.own!, step: inputs.logits.own! };
    const forward: TaskForward = Object.assign(pass("own"), { ...context, base: pass("base") });
    const { loss, metrics = {} }: LossResult = task.loss(forward, inputs.batch);
    return { values: { loss, ...metrics }, gradient: grad(loss, { own: inputs.logits.own! }).own! };
  });
  const { values, gradient } = await f({ batch, logits });
  await f.dispose();
  return { values: Object.fromEntries(Object.entries(values).map(([name, t]) => [name, Number(t.data[0])])), gradient };
}

function close(found: Awaited<ReturnType<typeof lossOf>>, { loss, margin, accuracy }: Case, gradient: HostTensor): void {
  expect(Math.abs(found.values.loss! - loss)).toBeLessThan(1e-5);
  if (margin !== undefined) expect(Math.abs(found.values.margin! - margin)).toBeLessThan(1e-5);
  if (accuracy !== undefined) expect(found.values.accuracy).toBe(accuracy);
  expect(found.gradient.shape).toEqual(gradient.shape);
  const [right, given] = [Array.from(gradient.data, Number), Array.from(found.gradient.data, Number)];
  const worst = right.map((g, i) => Math.abs(g - given[i]!));
  expect(Math.max(...worst)).toBeLessThan(1e-5);
}

const named = <C extends object>(cases: readonly C[]): (readonly [string, C])[] =>
  cases.map((c, i) => ["name" in c ? String(c.name) : "lossType" in c ? `${String(c.lossType)} ${i}` : String(i), c]);

describe("the losses and gradients of TRL 1.16's trainers", () => {
  it.each(named(golden.dpo))("dpo %s", async (_name, c) => {
    const task = dpo.task({ beta: golden.beta, lossType: c.lossType, labelSmoothing: c.labelSmoothing });
    const batch = dpo.batch(pairs, all);
    expect(batch.tokens!.data).toEqual(get("dpo/in/tokens").data);
    const logits = { own: get("dpo/in/own"), base: get("dpo/in/base") };
    const found = await lossOf(task, batch, logits, (_input, { own, base }) => ({ own: own!, base: base! }));
    close(found, c, get(`dpo/grad/${c.gradient ?? c.lossType}`));
  });

  it.each(named(golden.kto))("kto, its KL %s 0", async (name, c) => {
    const task = kto.task({ beta: golden.beta, desirableWeight: c.desirableWeight, undesirableWeight: c.undesirableWeight });
    const batch = kto.batch(judged, all);
    expect(batch.mismatched_tokens!.data).toEqual(get("kto/in/mismatched").data);
    const logits = {
      own: get("kto/in/own"),
      base: get("kto/in/base"),
      otherOwn: get(`kto/in/mismatched_own_${name}`),
      otherBase: get(`kto/in/mismatched_base_${name}`),
    };
    const found = await lossOf(task, batch, logits, ({ tokens }, { own, base, otherOwn, otherBase }, b) =>
      tokens === b.tokens ? { own: own!, base: base! } : { own: otherOwn!, base: otherBase! },
    );
    close(found, c, get(`kto/grad/${name}`));
    expect(Math.abs(found.values.kl! - c.kl)).toBeLessThan(1e-5);
  });

  it.each(named(golden.orpo))("orpo %s", async (_name, c) => {
    const batch = orpo.batch(pairs, all);
    const own = get("orpo/in/own");
    const found = await lossOf(orpo.task({ beta: golden.beta }), batch, { own }, (_input, logits) => ({
      own: logits.own!,
      base: logits.own!,
    }));
    close(found, c, get("orpo/grad/own"));
    expect(Math.abs(found.values.likelihood! - c.likelihood)).toBeLessThan(1e-5);
  });

  it.each(named(golden.reward))("reward %s", async (name, c) => {
    const task = reward.task({ centerRewards: c.centerRewards });
    const rows = pairs.map((pair, i) => ({ ...pair, margin: c.margins[i]! }));
    const own = get("reward/in/scores");
    const found = await lossOf(task, reward.batch(rows, all), { own }, (_input, logits) => ({ own: logits.own!, base: logits.own! }));
    close(found, c, get(`reward/grad/${name}`));
  });
});

it.each(["llama", "gpt2"])("a head with one output on %s scores the last token that is seen, as transformers' class does", async (kind) => {
  const source = join(import.meta.dirname, "../../models/test/golden", kind);
  const config = JSON.parse(readFileSync(join(source, "config.json"), "utf8")) as Record<string, unknown>;
  const model = withClassifier(modelFromConfig(config, readWeights(join(source, "model.safetensors")).weights), 1, 0);
  const own = (name: string): HostTensor => get(`score.${kind}/${name}`);
  const frozen = { ...model.params, "score.weight": own("in/score.weight") };
  const [tokens, mask] = [own("in/tokens"), own("in/mask")];
  const specs = { tokens: { dtype: "i32", shape: tokens.shape }, mask: { dtype: "f32", shape: mask.shape } } as const;
  const f = await compile(
    engine,
    specs,
    (input, params: ParamTree) => ({ logits: model.forward(params, input, { mode: "eval" }).logits! }),
    { frozen },
  );
  const { logits } = await f({ tokens, mask });
  await f.dispose();
  const right = own("out/logits");
  expect(logits.shape).toEqual(right.shape);
  for (const [i, v] of Array.from(right.data, Number).entries()) expect(Number(logits.data[i])).toBeCloseTo(v, 4);
});

describe("over a LoRA of the small llama, the base being the reference", () => {
  const source = join(import.meta.dirname, "../../models/test/golden/llama");
  const config = JSON.parse(readFileSync(join(source, "config.json"), "utf8")) as Record<string, unknown>;
  const model = modelFromConfig(config, readWeights(join(source, "model.safetensors")).weights);
  const { losses, lora: options, ...training } = golden.steps;
  const stored = (prefix: string): Record<string, HostTensor> =>
    Object.fromEntries(Object.keys(tensors).flatMap((name) => (name.startsWith(prefix) ? [[name.slice(prefix.length), get(name)]] : [])));
  const context = (): MethodContext => ({ engine, rng: new Rng(1), access: ["weights", "grad"], log: () => {}, progress: () => {} });
  const every = { batch: () => all, perEpoch: 1 };

  it.each([
    ["dpo", objectiveTask(dpo, { beta: golden.beta }, pairs, every)],
    ["kto", objectiveTask(kto, { beta: golden.beta, undesirableWeight: 1.5 }, judged, every)],
  ])("%s takes TRL's AdamW steps", async (name, task) => {
    const from = makeDelta(lora, parseConfig(lora, options), stored(`steps.${name}/in/`));
    const { delta, curves } = await runMethod(lora, { model, task, from }, { ...options, ...training, steps: 5 }, context());
    for (const [i, [, loss]] of curves.loss!.entries()) expect(Math.abs(loss - losses[name]![i]!), `loss of step ${i}`).toBeLessThan(1e-5);
    const end = stored(`steps.${name}/out/`);
    expect(Object.keys(delta.tensors).sort()).toEqual(Object.keys(end).sort());
    for (const [k, t] of Object.entries(end))
      for (const [i, v] of Array.from(t.data, Number).entries())
        expect(Math.abs(Number(delta.tensors[k]!.data[i]) - v), k).toBeLessThan(1e-4);
  });

  it("dpo takes the same step however its pairs are split into micro-batches", async () => {
    const from = makeDelta(lora, parseConfig(lora, options), stored("steps.dpo/in/"));
    const step = async (...splits: (readonly number[])[]): Promise<readonly number[]> => {
      const task = objectiveTask(dpo, { beta: golden.beta }, pairs, { batch: (n) => splits[n]!, perEpoch: splits.length });
      const once = { ...options, steps: 1, lr: 1, optimizer: "sgd", accumulate: splits.length } as const;
      const { delta } = await runMethod(lora, { model, task, from }, once, context());
      return Object.values(delta.tensors).flatMap((t) => Array.from(t.data, Number));
    };
    const [whole, split] = [await step(all), await step([0, 1, 2], [3])];
    expect(Math.max(...whole.map((v, i) => Math.abs(v - split[i]!)))).toBeLessThan(1e-5);
  });
});
