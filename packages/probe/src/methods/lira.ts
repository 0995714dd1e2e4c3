/**
 * LiRA, the likelihood ratio attack (Carlini et al., arXiv 2112.03570): φ = ln(p / (1 − p)) of the right answer is near normal over models, with other
 * means for those that learned from the example and those that did not.
 * Online (§IV, algorithm 1): ln N(φ; μ_in, σ²_in) − ln N(φ; μ_out, σ²_out). Offline (eq. 4): (φ − μ_out) / σ_out, of which their one-sided probability
 * is a monotone function.
 * With few shadow models variances of single examples are noise: one of all examples, taken around each one's own mean, stands for them (§VI-A).
 */
import { LfmError } from "@lfm/core";
import { z } from "zod";
import { defineProbe } from "../define-probe.js";
import { membershipInputs, referencesInput } from "../inputs.js";
import { asked, askReferences, type BothReferences, inAndOut, type ReferenceInputs, scoreBoth } from "../membership/references.js";
import { askBoth, toldApart } from "../membership/told-apart.js";

/** Shadow models from which on each example has a variance of its own, as in the paper. */
const OWN_VARIANCE = 64;

const config = z.strictObject({
  mode: z
    .enum(["auto", "online", "offline"])
    .default("auto")
    .describe(
      "online compares with models that learned from the example and with those that did not, offline with the latter; auto: online where all examples have both",
    ),
  variance: z
    .enum(["auto", "shared", "own"])
    .default("auto")
    .describe("one variance of φ for all examples, or one for each; auto: own from 64 shadow models on"),
});

export const lira = defineProbe<ReferenceInputs, typeof config>({
  id: "lira",
  summary: "Tells members by a likelihood ratio over shadow models: how usual the answer is with and without the example.",
  paper: { title: "Membership Inference Attacks From First Principles", arxiv: "2112.03570", year: 2022 },
  needs: ["logits"],
  inputs: {
    ...membershipInputs,
    references: { kind: referencesInput, about: "shadow models: trained as the model was, each on a part of the examples, or on none" },
  },
  config,
  presets: {
    online: { summary: "with shadow models of both sides", config: { mode: "online" } },
    offline: { summary: "with shadow models that saw none of the examples", config: { mode: "offline" } },
  },
  attack: async (inputs, c, context) => {
    const victim = await askBoth(inputs, context);
    const references = await askReferences(inputs, victim, context);
    const online = c.mode === "online" || (c.mode === "auto" && hasBoth(references));
    const shared = c.variance === "shared" || (c.variance === "auto" && references.members.length < OWN_VARIANCE);
    const spreadIn = shared && online ? sharedDeviation(references, "in") : undefined;
    const spreadOut = shared ? sharedDeviation(references, "out") : undefined;
    const scores = scoreBoth(victim, references, (own, others, i) => {
      const [odds, phi] = [inAndOut(others, i, (s) => s.odds), own.odds[i]!];
      const without = normalOf(odds.out, spreadOut, "out", i);
      if (!online) return (phi - without.mean) / without.deviation;
      return logDensity(phi, normalOf(odds.in, spreadIn, "in", i)) - logDensity(phi, without);
    });
    return toldApart(scores, victim, asked(victim));
  },
});

interface Normal {
  readonly mean: number;
  readonly deviation: number;
}

function hasBoth({ members, nonMembers }: BothReferences): boolean {
  return [members, nonMembers].every((side) => {
    const count = side[0]!.signals.losses.length;
    return Array.from({ length: count }, (_, i) => side.filter(({ saw }) => saw?.[i] === true).length).every(
      (n) => n > 0 && n < side.length,
    );
  });
}

/** Deviation of φ around each example's own mean, over all examples of both sides; unbiased. @throws {LfmError} CONFIG_INVALID for single models */
function sharedDeviation(references: BothReferences, side: "in" | "out"): number {
  let [squares, free] = [0, 0];
  for (const answers of [references.members, references.nonMembers]) {
    const count = answers[0]!.signals.odds.length;
    for (let i = 0; i < count; i++) {
      const values = inAndOut(answers, i, (s) => s.odds)[side];
      if (values.length === 0) continue;
      squares += sumOfSquares(values);
      free += values.length - 1;
    }
  }
  if (free === 0) throw tooFew(side);
  return atLeast(Math.sqrt(squares / free));
}

function normalOf(values: readonly number[], shared: number | undefined, side: "in" | "out", i: number): Normal {
  if (values.length === 0)
    throw new LfmError(
      "CONFIG_INVALID",
      `[@lfm/probe] lira: ${side === "in" ? "no" : "every"} shadow model learned from example ${i + 1}`,
      { hint: side === "in" ? "--mode offline needs none that did" : "give a --reference that was trained without it" },
    );
  if (shared === undefined && values.length < 2) throw tooFew(side);
  return { mean: mean(values), deviation: shared ?? atLeast(Math.sqrt(sumOfSquares(values) / (values.length - 1))) };
}

function tooFew(side: "in" | "out"): LfmError {
  return new LfmError(
    "CONFIG_INVALID",
    `[@lfm/probe] lira: a spread takes two shadow models that ${side === "in" ? "learned from an example" : "did not learn from an example"}`,
    {
      hint: "give more of --reference, or take rmia: it works with one",
    },
  );
}

/** Models that agree to the last bit have no spread to measure by. */
function atLeast(deviation: number): number {
  return Math.max(deviation, 1e-6);
}

function mean(values: readonly number[]): number {
  return values.reduce((a, b) => a + b, 0) / values.length;
}

function sumOfSquares(values: readonly number[]): number {
  const m = mean(values);
  return values.reduce((sum, v) => sum + (v - m) ** 2, 0);
}

/** Of a normal law, less the constant ½ ln 2π. */
function logDensity(x: number, { mean: m, deviation }: Normal): number {
  return -Math.log(deviation) - (x - m) ** 2 / (2 * deviation ** 2);
}
