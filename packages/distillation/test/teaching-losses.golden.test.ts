import { f32, type HostTensor, i32, Rng, type Tensor } from "@lfm/core";
import { describe, expect, it } from "vitest";
import {
  angleRelationLoss,
  attentionScoreLoss,
  attentionTransferLoss,
  contrastiveLoss,
  decoupledLoss,
  distanceRelationLoss,
  hintLoss,
  jensenShannonLoss,
  probabilisticTransferLoss,
  relationLoss,
  reversePolicyLoss,
  similarityLoss,
  softTargetLoss,
} from "../src/index.js";
import { sortedProbabilityLoss } from "../src/losses/sorted-probabilities.js";
import { expectGolden, type LossCase, lossOf, type Numbers, numbers, readGolden } from "./golden-loss.js";

interface Golden {
  readonly decoupled: readonly (LossCase & { targets: number[]; alpha: number; beta: number; temperature: number })[];
  readonly hint: LossCase & { mask: Numbers };
  readonly attention: Readonly<Record<"paper" | "mean-square", LossCase>>;
  readonly distance: LossCase;
  readonly angle: LossCase;
  readonly similarity: LossCase;
  readonly probabilistic: LossCase;
  readonly contrastive: LossCase & { others: Numbers; temperature: number };
  readonly jensenShannon: readonly (LossCase & { beta: number; temperature: number })[];
  readonly reversePolicy: LossCase & { targets: number[]; places: number[]; rows: number; seq: number };
  readonly sortedProbabilities: LossCase;
  readonly relations: readonly (LossCase & { heads: number; mask: Numbers })[];
  readonly attentionScores: LossCase & { teacherQueries: Numbers; studentKeys: Numbers; mask: Numbers };
}

const golden = readGolden<Golden>("teaching/losses");
const host = ({ shape, data }: Numbers): HostTensor => f32([...data], [...shape]);
type Loss = (teacher: Tensor, student: Tensor) => Tensor;

/** Losses of two tensors alone. */
const plain: Readonly<Record<"distance" | "angle" | "similarity" | "probabilistic", Loss>> = {
  distance: distanceRelationLoss,
  angle: angleRelationLoss,
  similarity: similarityLoss,
  probabilistic: probabilisticTransferLoss,
};

describe("value and gradient are torch's", () => {
  it.each(Object.entries(plain))("%s", async (name, loss) => {
    const want = golden[name as keyof typeof plain];
    expectGolden(await lossOf(want, loss), want);
  });

  it("decoupled", async () => {
    for (const c of golden.decoupled) {
      const weights = { target: c.alpha, others: c.beta, temperature: c.temperature };
      expectGolden(await lossOf(c, (t, s, { labels }) => decoupledLoss(t, s, labels, weights), { labels: i32(c.targets) }), c);
    }
  });

  it("hints, padding left out", async () => {
    const { hint } = golden;
    expectGolden(await lossOf(hint, (t, s, { mask }) => hintLoss(t, s, mask), { mask: host(hint.mask) }), hint);
  });

  it.each(["paper", "mean-square"] as const)("attention maps, form %s", async (form) => {
    const want = golden.attention[form];
    expectGolden(await lossOf(want, (t, s) => attentionTransferLoss(t, s, form)), want);
  });

  it("contrast", async () => {
    const { contrastive: c } = golden;
    expectGolden(await lossOf(c, (t, s, { others }) => contrastiveLoss(s, t, others, c.temperature), { others: host(c.others) }), c);
  });

  it("Jensen–Shannon, with its limits", async () => {
    for (const c of golden.jensenShannon) expectGolden(await lossOf(c, (t, s) => jensenShannonLoss(t, s, c.beta, c.temperature)), c);
  });

  it("reverse KL by policy gradient", async () => {
    const { reversePolicy: c } = golden;
    const more = { targets: i32(c.targets), places: i32(c.places), weights: f32(c.places.map(() => 1)) };
    const loss = await lossOf(c, (teacher, student, m) => reversePolicyLoss({ teacher, student, ...m, rows: c.rows, seq: c.seq }), more);
    expectGolden(loss, c);
  });

  it("sorted probabilities of unequal vocabularies", async () => {
    expectGolden(await lossOf(golden.sortedProbabilities, (t, s) => sortedProbabilityLoss(t, s)), golden.sortedProbabilities);
  });

  it("relations of tokens, padding left out", async () => {
    for (const c of golden.relations)
      expectGolden(await lossOf(c, (t, s, { mask }) => relationLoss(t, s, c.heads, { mask, weights: mask }), { mask: host(c.mask) }), c);
  });

  it("attention scores, padding left out", async () => {
    const { attentionScores: c } = golden;
    const more = { q: host(c.teacherQueries), k: host(c.studentKeys), mask: host(c.mask) };
    const loss = await lossOf(
      c,
      (t, s, { q, k, mask }) => attentionScoreLoss({ q, k: t, heads: 2 }, { q: s, k, heads: 2 }, { mask, weights: mask }),
      more,
    );
    expectGolden(loss, c);
  });
});

/** Every loss that compares like with like, with a shape that it takes. */
const comparable: readonly (readonly [string, Loss, readonly number[]])[] = [
  ["soft targets", (t, s) => softTargetLoss(t, s, 2), [4, 5]],
  ["hint", hintLoss, [4, 5]],
  ["attention, mean-square", (t, s) => attentionTransferLoss(t, s, "mean-square"), [2, 3, 2, 2]],
  ["attention, paper", (t, s) => attentionTransferLoss(t, s, "paper"), [2, 3, 2, 2]],
  ["distance", distanceRelationLoss, [4, 5]],
  ["angle", angleRelationLoss, [4, 5]],
  ["similarity", similarityLoss, [4, 5]],
  ["probabilistic", probabilisticTransferLoss, [4, 5]],
  ...[0, 0.3, 1].map((beta) => [`Jensen–Shannon ${beta}`, ((t, s) => jensenShannonLoss(t, s, beta)) as Loss, [4, 5]] as const),
  ["sorted probabilities", sortedProbabilityLoss, [4, 5]],
  ["relations", (t, s) => relationLoss(t, s, 2), [2, 3, 4]],
];

describe("limits", () => {
  it.each(comparable)("%s: 0 at equality, with a gradient of 0, and never below", async (_name, loss, shape) => {
    const rng = new Rng(5);
    const draw = (): Numbers => numbers(shape, Array.from(rng.normalArray(shape.reduce((a, b) => a * b, 1))));
    const same = draw();
    const equal = await lossOf({ teacher: same, student: same }, (t, s) => loss(t, s));
    expect(equal.loss).toBeCloseTo(0, 6);
    for (const g of equal.grad.data) expect(Math.abs(g)).toBeLessThan(1e-6);
    for (let i = 0; i < 5; i++) expect((await lossOf({ teacher: draw(), student: draw() }, (t, s) => loss(t, s))).loss).toBeGreaterThan(0);
  });

  it("decoupled: with α = 1 and β = 1 − p(target) of the teacher it is Hinton's loss", async () => {
    const [teacher, student] = [numbers([1, 3], [2, 0, -1]), numbers([1, 3], [0.5, 1, 0])];
    const p = Math.exp(2) / (Math.exp(2) + 1 + Math.exp(-1));
    const weights = { target: 1, others: 1 - p, temperature: 1 };
    const decoupled = await lossOf({ teacher, student }, (t, s, { labels }) => decoupledLoss(t, s, labels, weights), { labels: i32([0]) });
    const whole = await lossOf({ teacher, student }, (t, s) => softTargetLoss(t, s, 1));
    expect(decoupled.loss).toBeCloseTo(whole.loss, 6);
  });

  it("Jensen–Shannon over β(1 − β) tends to the forward and the reverse KL", async () => {
    const pair = { teacher: numbers([2, 3], [2, 0, -1, 0, 1, 0]), student: numbers([2, 3], [0.5, 1, 0, -1, 0, 2]) };
    const at = async (beta: number): Promise<number> => (await lossOf(pair, (t, s) => jensenShannonLoss(t, s, beta))).loss;
    for (const [limit, near] of [
      [0, 1e-3],
      [1, 1 - 1e-3],
    ] as const)
      expect((await at(near)) / (near * (1 - near)) / (await at(limit))).toBeCloseTo(1, 2);
  });

  it("hand-worked: distances 3, 4, 5 against equal ones", async () => {
    // Means 4 and 1: |3/4 − 1| = |5/4 − 1| = 1/4, twice each among nine pairs, ½·(1/4)² each.
    const pair = { teacher: numbers([3, 2], [0, 0, 3, 0, 0, 4]), student: numbers([3, 2], [0, 0, 1, 0, 0.5, Math.sqrt(3) / 2]) };
    expect((await lossOf(pair, distanceRelationLoss)).loss).toBeCloseTo((4 * 0.5 * (1 / 4) ** 2) / 9, 6);
  });

  it("hand-worked: one strong place of two against the other", async () => {
    const pair = { teacher: numbers([1, 1, 1, 2], [3, 0]), student: numbers([1, 1, 1, 2], [0, 2]) };
    expect((await lossOf(pair, (t, s) => attentionTransferLoss(t, s, "paper"))).loss).toBeCloseTo(Math.SQRT2, 6);
    expect((await lossOf(pair, (t, s) => attentionTransferLoss(t, s, "mean-square"))).loss).toBeCloseTo(1, 6);
  });

  it("hand-worked: alike and unalike examples", async () => {
    const pair = { teacher: numbers([2, 2], [1, 0, 0, 1]), student: numbers([2, 1], [1, 1]) };
    // Rows (1, 0) and (0, 1) against (1, 1)/√2 twice.
    expect((await lossOf(pair, similarityLoss)).loss).toBeCloseTo(((1 - Math.SQRT1_2) ** 2 + 0.5) / 2, 6);
  });

  it("hand-worked: a contrast of one example against one other", async () => {
    // a·own = 1, a·other = 0, τ = 1: u = e, N·ū = 1.
    const loss = await lossOf(
      { teacher: numbers([1, 2], [1, 0]), student: numbers([1, 2], [1, 0]) },
      (t, s, { o }) => contrastiveLoss(s, t, o, 1),
      {
        o: f32([0, 1], [1, 2]),
      },
    );
    expect(loss.loss).toBeCloseTo(-Math.log(Math.E / (Math.E + 1)) - Math.log(1 / 2), 6);
  });

  it("hand-worked: (.5, .3, .2) against (.6, .4) whatever the order", async () => {
    const logs = (...p: readonly number[]): Numbers => numbers([1, p.length], p.map(Math.log));
    const loss = await lossOf({ teacher: logs(0.3, 0.5, 0.2), student: logs(0.4, 0.6) }, (t, s) => sortedProbabilityLoss(t, s));
    expect(loss.loss).toBeCloseTo(0.1 + 0.1 + 0.2, 6);
  });

  it("the policy gradient of one token is that of the exact KL alone", async () => {
    const pair = { teacher: numbers([1, 3], [1, 0, 0]), student: numbers([1, 3], [0, 1, 0]) };
    const more = { targets: i32([1]), weights: f32([1]), places: i32([0]) };
    const policy = await lossOf(pair, (teacher, student, m) => reversePolicyLoss({ teacher, student, ...m, rows: 1, seq: 2 }), more);
    expectGolden(policy, await lossOf(pair, (t, s) => jensenShannonLoss(t, s, 1)));
  });

  it("scores of tokens that are padding have no part", async () => {
    const mask = f32([1, 1, 0], [1, 3]);
    const [a, b] = [numbers([1, 3, 2], [1, 0, 0, 1, 5, 5]), numbers([1, 3, 2], [1, 0, 0, 1, -9, 2])];
    const own = await lossOf({ teacher: a, student: b }, (t, s, m) => relationLoss(t, s, 1, { mask: m.mask, weights: m.mask }), { mask });
    expect(own.loss).toBeCloseTo(0, 9);
    const alone = (x: Tensor): Parameters<typeof attentionScoreLoss>[0] => ({ q: x, k: x, heads: 1 });
    const scores = await lossOf(
      { teacher: a, student: b },
      (t, s, m) => attentionScoreLoss(alone(t), alone(s), { mask: m.mask, weights: m.mask }),
      { mask },
    );
    expect(scores.loss).toBe(0);
  });
});
