import { readFileSync } from "node:fs";
import { compile, crossEntropy, f32, grad, type HostTensor, i32, Rng, referenceEngine, scalar } from "@lfm/core";

import { expect, it } from "vitest";
import { cosineRule } from "../src/methods/baseline-plus-plus.js";
import { logisticRule } from "../src/methods/logistic-regression.js";
import { matchingRule } from "../src/methods/matchingnet.js";
import { machineRule } from "../src/methods/metaoptnet.js";
import { centroidRule } from "../src/methods/nearest-centroid.js";
import { ridgeRule } from "../src/methods/r2d2.js";
import { relationRule } from "../src/methods/relationnet.js";
import type { HeadRule } from "../src/metric/episode-head.js";
import { deviation, type Numbers, numbers } from "./meta-gradient.js";

interface Case {
  readonly scores: Numbers;
  readonly loss: number;
  readonly grad: Record<string, Numbers>;
  readonly own: Record<string, Numbers>;
}

const golden = JSON.parse(readFileSync(new URL("golden/heads/golden.json", import.meta.url), "utf8")) as {
  readonly supports: Numbers;
  readonly queries: Numbers;
  readonly labels: number[];
  readonly answers: number[];
  readonly ways: number;
  readonly heads: Record<string, Case>;
  readonly solved: Record<string, Numbers>;
};
const rules: Readonly<Record<string, HeadRule>> = {
  matchingnet: matchingRule,
  relationnet: relationRule(5, new Rng(0)),
  r2d2: ridgeRule(1),
  metaoptnet: machineRule(0.5, 6),
  "nearest-centroid": centroidRule(true),
  "logistic-regression": logisticRule(0.125, 8),
  "baseline-plus-plus": cosineRule(4, 0.5, 3),
};
const tensor = ({ shape, data }: Numbers): HostTensor => f32(data, shape);

/** Scores, loss and gradients of a head on the golden's embeddings, in f64. */
async function run(rule: HeadRule, own: Record<string, Numbers>): Promise<Omit<Case, "own">> {
  const leaves = {
    supports: tensor(golden.supports),
    queries: tensor(golden.queries),
    ...Object.fromEntries(Object.entries(own).map(([n, t]) => [n, tensor(t)])),
  };
  const specs = Object.fromEntries(Object.entries(leaves).map(([n, t]) => [n, { dtype: "f32" as const, shape: t.shape }]));
  const ids = (values: number[]) => ({ dtype: "i32" as const, shape: [values.length] });
  const f = await compile(
    referenceEngine({ unrounded: true }),
    { leaves: specs, labels: ids(golden.labels), answers: ids(golden.answers) },
    ({ leaves: given, labels, answers }) => {
      const { ways } = golden;
      const scores = rule.head({ supports: given.supports!, queries: given.queries!, labels, ways, learned: given });
      const loss = rule.loss ? rule.loss(scores, answers, ways) : crossEntropy(scores, answers);
      return { scores, loss, grad: grad(loss, given) };
    },
  );
  const out = await f({ leaves, labels: i32(golden.labels), answers: i32(golden.answers) });
  return {
    scores: numbers(out.scores),
    loss: Number(out.loss.data[0]),
    grad: Object.fromEntries(Object.entries(out.grad).map(([n, t]) => [n, numbers(t)])),
  };
}

it.each(Object.keys(rules))("%s: scores, loss and gradients are torch's", async (name) => {
  const want = golden.heads[name]!;
  const got = await run(rules[name]!, want.own);
  expect(deviation(got.scores, want.scores)).toBeLessThan(1e-6);
  expect(Math.abs(got.loss - want.loss)).toBeLessThan(1e-6);
  const scale = Math.max(...Object.values(want.grad).flatMap((g) => g.data.map(Math.abs)));
  for (const [n, g] of Object.entries(want.grad)) expect(deviation(got.grad[n]!, g, scale), n).toBeLessThan(1e-6);
});

it("with steps enough the support vector machine is the one that a general solver finds, and so is logistic regression", async () => {
  const { ways } = golden;
  const scores = async ({ head }: HeadRule): Promise<Numbers> => {
    const given = (x: Numbers) => ({ dtype: "f32" as const, shape: x.shape });
    const f = await compile(
      referenceEngine({ unrounded: true }),
      { supports: given(golden.supports), queries: given(golden.queries), labels: { dtype: "i32", shape: [golden.labels.length] } },
      (of) => ({ y: head({ ...of, ways, learned: { "head.scale": scalar(1) } }) }),
    );
    return numbers((await f({ supports: tensor(golden.supports), queries: tensor(golden.queries), labels: i32(golden.labels) })).y);
  };
  expect(deviation(await scores(machineRule(0.5, 400)), golden.solved.metaoptnet!)).toBeLessThan(0.01);
  expect(deviation(await scores(logisticRule(0.125, 100)), golden.solved["logistic-regression"]!)).toBeLessThan(1e-5);
});
