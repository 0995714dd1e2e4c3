/**
 * FGM, the fast gradient (sign) method (Goodfellow et al., arXiv 1412.6572): one step up the loss, x + ε·sign(∇L), or x + ε·∇L/‖∇L‖₂. On a linear
 * model with norm inf it is the best there is: an input flips exactly where ε > |margin| / ‖w‖₁.
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
  curve: z.array(z.number().min(0)).default([]).describe("further ε for the curve of accuracy against ε"),
});

export const fgm = defineProbe<InputAttackInputs, typeof config>({
  id: "fgm",
  summary: "Moves each input one step up the loss: pixels and features, or what tokens are embedded as.",
  paper: { title: "Explaining and Harnessing Adversarial Examples", arxiv: "1412.6572", year: 2015 },
  needs: ["weights", "grad"],
  inputs: inputAttackInputs,
  config,
  attack: async ({ victim, examples }, c, context) => {
    const moved = await compileMoved(context.engine, victim, examples);
    const epsilons = [c.epsilon, ...c.curve];
    const right: number[] = [];
    const still = epsilons.map((): number[] => []);
    const hidden = victim.info.input === "tokens" ? victim.info.hiddenSize : undefined;
    let done = 0;
    const tell = (): void => {
      context.progress({ phase: "attack", done: ++done, total: moved.batches.length * (1 + epsilons.length), unit: "pass" });
      throwIfAborted(context.signal, "[@lfm/probe] fgm");
    };
    try {
      for (const batch of moved.batches) {
        throwIfAborted(context.signal, "[@lfm/probe] fgm");
        const [width, values] = [moved.width(batch), moved.values(batch)];
        const start = await moved.gradients(batch, new Float32Array(sizeOfBatch(batch) * width));
        right.push(...start.right);
        const gradient = start.gradient.slice();
        tell();
        for (const [k, epsilon] of epsilons.entries()) {
          const own = epsilonOf(c, epsilon, moved.unit, hidden);
          const by = project(
            steepest(new Float32Array(gradient.length), gradient, width, own, c.norm),
            width,
            own,
            c.norm,
            values,
            rangeOf(c),
          );
          still[k]!.push(...(await moved.answers(batch, by)).right);
          tell();
        }
      }
    } finally {
      await moved.dispose();
    }
    const mean = (values: readonly number[]): number => values.reduce((a, b) => a + b, 0) / values.length;
    const accuracy = epsilons.map((epsilon, k) => [epsilon, mean(still[k]!)] as const).toSorted(([a], [b]) => a - b);
    return brokenInputs(right, still[0]!, moved.count * (1 + epsilons.length), { curves: { accuracy: [[0, mean(right)], ...accuracy] } });
  },
});
