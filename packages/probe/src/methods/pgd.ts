/**
 * PGD, projected gradient descent (Madry et al., arXiv 1706.06083): steps up the loss from a random point of the ball, each followed by a projection
 * into it. An input counts as broken from the first step at which the model errs.
 */
import { throwIfAborted } from "@lfm/core";
import { z } from "zod";
import { project, steepest } from "../adversarial/balls.js";
import { compileMoved } from "../adversarial/moved-inputs.js";
import { epsilonOf, type InputAttackInputs, inputAttackInputs, movedFields, rangeOf } from "../adversarial/moved-options.js";
import { brokenInputs } from "../adversarial/robustness.js";
import { defineProbe } from "../define-probe.js";
import { sizeOfBatch } from "../inputs.js";

const config = z.strictObject({
  ...movedFields,
  steps: z.number().int().positive().default(40).describe("steps up the loss"),
  stepSize: z.number().positive().default(0.25).describe("length of a step, in ε"),
  randomStart: z.boolean().default(true).describe("begin at a random point of the ball instead of its centre"),
});

export const pgd = defineProbe<InputAttackInputs, typeof config>({
  id: "pgd",
  summary: "Moves each input up the loss in many small steps that never leave the ball of ε.",
  paper: { title: "Towards Deep Learning Models Resistant to Adversarial Attacks", arxiv: "1706.06083", year: 2018 },
  needs: ["weights", "grad"],
  inputs: inputAttackInputs,
  config,
  attack: async ({ victim, examples }, c, context) => {
    const moved = await compileMoved(context.engine, victim, examples);
    const hidden = victim.info.input === "tokens" ? victim.info.hiddenSize : undefined;
    const epsilon = epsilonOf(c, c.epsilon, moved.unit, hidden);
    const [right, still]: [number[], number[]] = [[], []];
    let queries = 0;
    const total = moved.batches.length * c.steps;
    try {
      for (const [n, batch] of moved.batches.entries()) {
        const [width, values, rows] = [moved.width(batch), moved.values(batch), sizeOfBatch(batch)];
        const rng = context.rng.split(`batch ${n}`);
        const within = (by: Float32Array): Float32Array => project(by, width, epsilon, c.norm, values, rangeOf(c));
        const clean = (await moved.answers(batch, new Float32Array(rows * width))).right;
        const held = clean.slice();
        let by = within(c.randomStart ? rng.uniformArray(rows * width, -epsilon, epsilon) : new Float32Array(rows * width));
        for (let step = 0; step < c.steps; step++) {
          throwIfAborted(context.signal, "[@lfm/probe] pgd");
          const { right: now, gradient } = await moved.gradients(batch, by);
          for (const [r, ok] of now.entries()) if (ok === 0) held[r] = 0;
          by = within(steepest(by, gradient, width, c.stepSize * epsilon, c.norm));
          context.progress({ phase: "attack", done: n * c.steps + step + 1, total, unit: "step" });
        }
        const { right: last } = await moved.answers(batch, by);
        for (const [r, ok] of last.entries()) if (ok === 0) held[r] = 0;
        right.push(...clean);
        still.push(...held);
        queries += rows * (c.steps + 2);
      }
    } finally {
      await moved.dispose();
    }
    return brokenInputs(right, still, queries);
  },
});
