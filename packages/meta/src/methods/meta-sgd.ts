/** Meta-SGD (arXiv 1707.09835): θ' = θ − α∘∇L_S(θ), where α, one rate for each element of θ, is learned together with θ. */
import { f32, type HostTensor, mul } from "@lfm/core";
import { z } from "zod";
import { defineGradientMethod, gradientOptions, OWN } from "../gradient/gradient-method.js";
import type { Move } from "../gradient/inner-loop.js";
import { alongDirection } from "../gradient/moves.js";

const RATE = `${OWN}rate.`;

/** Each element by its own learned rate. */
export const byOwnRates: Move = alongDirection((g, name, { learned }) => mul(g, learned[RATE + name]!));

export const metaSgd = defineGradientMethod({
  id: "meta-sgd",
  summary: "Learns an initialisation together with the rate and direction of each parameter's inner steps.",
  paper: {
    title: "Meta-SGD: Learning to Learn Quickly for Few-Shot Learning",
    arxiv: "1707.09835",
    year: 2017,
    survey: "6.1 white-box meta-learning",
  },
  config: z.strictObject({
    ...gradientOptions,
    innerLr: gradientOptions.innerLr.describe("what all rates α begin with"),
  }),
  loop: (_c, steps) => ({ steps, move: byOwnRates }),
  own: (moves, model, c) => Object.fromEntries(moves.map((name) => [RATE + name, filled(model.params[name]!.shape, c.innerLr)])),
});

function filled(shape: readonly number[], value: number): HostTensor {
  return f32(new Float32Array(shape.reduce((a, b) => a * b, 1)).fill(value), shape);
}
