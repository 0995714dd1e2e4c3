import { readFileSync } from "node:fs";
import { adam, f32, type HostTensor, referenceEngine, scalar, sgd } from "@lfm/core";
import { mlp } from "@lfm/models";
import { arrayRegression } from "@lfm/train";
import { expect, it } from "vitest";
import type { InnerLoop } from "../src/gradient/inner-loop.js";
import { byOptimizer, plainDescent } from "../src/gradient/moves.js";
import { type Order, outerLoss, type StepWeights } from "../src/gradient/outer-loss.js";
import { loopOf as heldLoop, implicitLoss } from "../src/methods/imaml.js";
import { byStepRates, multiStepWeights } from "../src/methods/maml-plus-plus.js";
import { alongCurvature } from "../src/methods/meta-curvature.js";
import { byOwnRates } from "../src/methods/meta-sgd.js";
import { reptileLoss } from "../src/methods/reptile.js";
import { deviation, metaGradient, type Numbers, opaque } from "./meta-gradient.js";

interface Case {
  readonly loss: number;
  readonly grad: Record<string, Numbers>;
  readonly own: Record<string, Numbers>;
}

const golden = JSON.parse(readFileSync(new URL("golden/inner-loops/golden.json", import.meta.url), "utf8")) as {
  readonly rate: number;
  readonly steps: number;
  readonly params: Record<string, Numbers>;
  readonly tasks: readonly Record<"sx" | "sy" | "qx" | "qy", Numbers>[];
  readonly methods: Record<"anil" | "meta-sgd" | "maml-plus-plus" | "meta-curvature", Case> & {
    readonly reptile: Record<"adam" | "sgd", Pick<Case, "grad">>;
    readonly imaml: { readonly pull: number; readonly innerSteps: number } & Pick<Case, "loss" | "grad">;
  };
};
const { rate, steps, methods } = golden;
const f64 = ({ shape, data }: Numbers): HostTensor => f32(data, shape);
const tensors = (of: Record<string, Numbers>): Record<string, HostTensor> =>
  Object.fromEntries(Object.entries(of).map(([n, t]) => [n, f64(t)]));
const params = tensors(golden.params);
const model = mlp({ input_size: 2, hidden_sizes: [4], output_size: 1, activation: "tanh" }, params);
const episodes = golden.tasks.map(({ sx, sy, qx, qy }) => ({ support: { x: f64(sx), y: f64(sy) }, query: { x: f64(qx), y: f64(qy) } }));
const reader = { task: arrayRegression("golden", "features", [2], 1), norm: "transductive" } as const;
const engine = referenceEngine({ unrounded: true });

/** Largest difference from torch's, with a task axis and unrolled, as a share of the largest gradient. */
async function differs(
  want: Pick<Case, "grad"> & Partial<Case>,
  outer: Parameters<typeof metaGradient>[5],
  moves = Object.keys(params),
): Promise<number> {
  const scale = Math.max(...Object.values(want.grad).flatMap((g) => g.data.map(Math.abs)));
  const learned = { ...params, ...tensors(want.own ?? {}) };
  let worst = 0;
  for (const one of [model, opaque(model)]) {
    const got = await metaGradient(engine, { ...reader, model: one }, moves, learned, episodes, outer);
    if (want.loss !== undefined) worst = Math.max(worst, Math.abs(got.loss - want.loss));
    for (const [name, g] of Object.entries(want.grad)) worst = Math.max(worst, deviation(got.grad[name]!, g, scale));
  }
  return worst;
}

const through =
  (loop: InnerLoop, order: Order, weights?: StepWeights): Parameters<typeof metaGradient>[5] =>
  (groups, learned) =>
    outerLoss(groups, loop, learned, order, weights);

it.each(["exact", "hvp"] as const)("ANIL's gradient is torch's, of the body too: %s", async (order) => {
  const head = ["fc2.weight", "fc2.bias"];
  expect(await differs(methods.anil, through({ steps, move: plainDescent(rate) }, order), head)).toBeLessThan(1e-8);
});

it.each(["exact", "hvp"] as const)("Meta-SGD's gradient is torch's, of the rates too: %s", async (order) => {
  expect(await differs(methods["meta-sgd"], through({ steps, move: byOwnRates }, order))).toBeLessThan(1e-7);
});

it.each(["exact", "hvp"] as const)("MAML++'s gradient is torch's, of rates and with a loss after each step: %s", async (order) => {
  const outer: Parameters<typeof metaGradient>[5] = (groups, learned) =>
    outerLoss(groups, { steps, move: byStepRates }, learned, order, multiStepWeights(steps, 100, scalar(11)));
  expect(await differs(methods["maml-plus-plus"], outer)).toBeLessThan(1e-7);
});

it.each(["exact", "hvp"] as const)("Meta-Curvature's gradient is torch's, of the matrices too: %s", async (order) => {
  expect(await differs(methods["meta-curvature"], through({ steps, move: alongCurvature(rate) }, order))).toBeLessThan(1e-7);
});

it.each(["adam", "sgd"] as const)("Reptile's step leads where torch.optim leads on each task: %s", async (name) => {
  const optimizer = name === "adam" ? adam({ beta1: 0 }) : sgd();
  const loop = { steps, move: byOptimizer(optimizer, rate), learnsFrom: "both" } as const;
  expect(await differs(methods.reptile[name], (groups, learned) => reptileLoss(groups, loop, learned))).toBeLessThan(1e-6);
});

it("iMAML's gradient is the solution with a dense Hessian", async () => {
  const { pull, innerSteps, ...want } = methods.imaml;
  const loop = heldLoop(rate, pull, innerSteps);
  expect(await differs(want, (groups, learned) => implicitLoss(groups, loop, learned, pull, 12))).toBeLessThan(1e-7);
});
