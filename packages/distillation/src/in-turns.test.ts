import { adam, add, f32, type Optimizer, ortEngine, sgd, square, sum } from "@lfm/core";
import { compileTraining } from "@lfm/train";
import { expect, it } from "vitest";
import { inTurns } from "./in-turns.js";

/** Two numbers, both wanted smaller. @returns both after so many steps */
async function after(optimizer: Optimizer, steps: number, lr = 0.1): Promise<{ readonly a: number; readonly b: number }> {
  const training = await compileTraining({
    engine: await ortEngine({ threads: 1 }),
    trainable: { a: f32([1]), b: f32([1]) },
    batch: { tick: { dtype: "f32", shape: [] } },
    loss: ({ a, b }) => ({ loss: sum(add(square(a!), square(b!))) }),
    optimizer,
  });
  for (let step = 1; step <= steps; step++) await training.step([{ tick: f32([step], []) }], { lr, step, keys: [0] });
  const { a, b } = training.state().params;
  await training.dispose();
  return { a: Number(a!.data[0]), b: Number(b!.data[0]) };
}

const slow = (optimizer: Optimizer): Parameters<typeof inTurns>[0] => ({ owns: (name) => name === "a", optimizer, every: 2, rate: 0.5 });

it("the slow player moves in the first of two steps, at its own rate", async () => {
  const moved = await after(inTurns(slow(sgd()), sgd()), 3);
  // Gradients are 2a and 2b: a becomes .9·a in steps 1 and 3, b .8·b in each.
  expect(moved.a).toBeCloseTo(0.9 ** 2, 6);
  expect(moved.b).toBeCloseTo(0.8 ** 3, 6);
});

it("its moments rest with it: as many steps of its own optimizer alone", async () => {
  const moved = await after(inTurns(slow(adam()), sgd()), 4);
  const alone = await after(adam(), 2, 0.05);
  expect(moved.a).toBeCloseTo(alone.a, 6);
});
