/**
 * Stealing a linear model by solving equations (Tramèr et al., arXiv 1609.02943, §4.1): ln pₖ(x) − ln p₀(x) is linear in x for a softmax of linear
 * logits, so d + 1 answers at the origin and the unit points give all weights. Of a model that is not linear it takes the tangent at the origin, and the
 * agreement says how little that is.
 */
import { LfmError, throwIfAborted } from "@lfm/core";
import { createBlackBox } from "@lfm/models";
import { z } from "zod";
import { itemBatch, questionsOf } from "../asked.js";
import { defineProbe } from "../define-probe.js";
import { type ProbedExamples, probedInput, type VictimInputs, victimInputs } from "../inputs.js";
import { shareOf } from "../statistics/binomial.js";

const config = z.strictObject({
  scale: z.number().positive().default(1).describe("how far from the origin the points of the equations lie"),
  digits: z
    .number()
    .int()
    .positive()
    .optional()
    .describe("the victim's defence: probabilities are given with so many digits behind the point; default all"),
  budget: z.number().int().positive().optional().describe("rows that may be asked about; default d + 1"),
});

interface StealingInputs extends VictimInputs {
  /** Examples on which the copy is compared with the victim. */
  readonly examples: ProbedExamples;
}

export const equationSolving = defineProbe<StealingInputs, typeof config>({
  id: "equation-solving",
  summary: "Steals a linear classifier from d + 1 answers, and measures how far the copy agrees.",
  paper: { title: "Stealing Machine Learning Models via Prediction APIs", arxiv: "1609.02943", year: 2016 },
  needs: ["logits"],
  inputs: { ...victimInputs, examples: { kind: probedInput, as: "data", about: "on which the copy is compared with the model" } },
  config,
  attack: async ({ victim, examples }, c, context) => {
    const questions = questionsOf(victim, examples);
    if (questions.kind === "tokens")
      throw new LfmError(
        "CAPABILITY_MISSING",
        `[@lfm/probe] equation-solving: ${victim.info.architecture} reads tokens: there is no origin to ask at`,
      );
    const { shape, items } = questions;
    const d = shape.reduce((a, b) => a * b, 1);
    const budget = c.budget ?? d + 1;
    if (budget < d + 1) throw new LfmError("BUDGET_EXCEEDED", `[@lfm/probe] equation-solving takes ${d + 1} rows; the budget is ${budget}`);
    throwIfAborted(context.signal, "[@lfm/probe] equation-solving");
    const box = await createBlackBox(context.engine, victim, { budget, offers: "probabilities" });
    const judge = await createBlackBox(context.engine, victim, { budget: items.length, offers: "labels" });
    try {
      const points = Array.from({ length: d + 1 }, (_, i) => {
        const point = new Float32Array(d);
        if (i > 0) point[i - 1] = c.scale;
        return point;
      });
      const { data, shape: told } = await box.predict(itemBatch(points, shape));
      context.progress({ phase: "queries", done: d + 1, total: d + 1, unit: "row" });
      throwIfAborted(context.signal, "[@lfm/probe] equation-solving");
      const classes = told[1]!;
      const rounded = (p: number): number => (c.digits === undefined ? p : Math.round(p * 10 ** c.digits) / 10 ** c.digits);
      // What rounds to nothing has no logarithm: half of the last digit stands for it.
      const floor = c.digits === undefined ? 1e-38 : 0.5 * 10 ** -c.digits;
      const odds = (i: number, k: number): number => Math.log(Math.max(floor, rounded(Number(data[i * classes + k]))));
      const copy = { w: new Float64Array(classes * d), b: new Float64Array(classes) };
      for (let k = 0; k < classes; k++) {
        copy.b[k] = odds(0, k) - odds(0, 0);
        for (let i = 0; i < d; i++) copy.w[k * d + i] = (odds(i + 1, k) - odds(i + 1, 0) - copy.b[k]!) / c.scale;
      }
      const own = items.map((x) => largestOf(copy, x));
      const { data: labels } = await judge.predict(itemBatch(items, shape));
      const agree = own.filter((k, r) => Number(labels[r * classes + k]) === 1).length;
      return {
        risks: { agreement: shareOf(agree, items.length) },
        measured: {
          copyAccuracy: own.filter((k, r) => k === questions.labels[r]).length / items.length,
          parameters: classes * (d + 1),
          examples: items.length,
        },
        queries: box.queries,
      };
    } finally {
      await box.dispose();
      await judge.dispose();
    }
  },
});

function largestOf({ w, b }: { readonly w: Float64Array; readonly b: Float64Array }, x: Float32Array): number {
  const logits = Array.from(b, (v, k) => v + x.reduce((sum, xi, i) => sum + xi * w[k * x.length + i]!, 0));
  return logits.indexOf(Math.max(...logits));
}
