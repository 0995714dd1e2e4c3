/**
 * Membership from labels alone (Choquette-Choo et al., arXiv 2007.14321): what a model has learned from, it keeps right when the example is
 * disturbed. Score: the share of right labels over the example and its disturbed copies. Without copies it is the gap attack (§3): right means member.
 */
import { LfmError, throwIfAborted } from "@lfm/core";
import { createBlackBox } from "@lfm/models";
import { z } from "zod";
import { askable, disturbed, type Questions, questionsOf } from "../asked.js";
import { defineProbe } from "../define-probe.js";
import { type MembershipInputs, membershipInputs } from "../inputs.js";
import type { Signals } from "../membership/signals.js";
import { toldApart } from "../membership/told-apart.js";

const config = z.strictObject({
  copies: z.number().int().min(0).default(20).describe("disturbed copies of each example; 0 is the gap attack"),
  noise: z
    .number()
    .positive()
    .default(0.1)
    .describe("standard deviation of the noise on pixels and features; in texts the probability that a token is left out"),
  budget: z
    .number()
    .int()
    .positive()
    .optional()
    .describe("rows that may be asked about in all; default as many as it takes: (1 + copies) for each example"),
});

export const labelOnly = defineProbe<MembershipInputs, typeof config>({
  id: "label-only",
  summary: "Tells members from labels alone: a model keeps right what it has learned from when that is disturbed.",
  paper: { title: "Label-Only Membership Inference Attacks", arxiv: "2007.14321", year: 2021 },
  needs: ["labels"],
  inputs: membershipInputs,
  config,
  presets: { gap: { summary: "right means member: one query each", config: { copies: 0 } } },
  attack: async ({ victim, members, nonMembers }, c, context) => {
    const sides = { members: questionsOf(victim, members), nonMembers: questionsOf(victim, nonMembers) };
    const rows = (1 + c.copies) * (sides.members.labels.length + sides.nonMembers.labels.length);
    const budget = c.budget ?? rows;
    if (rows > budget)
      throw new LfmError("BUDGET_EXCEEDED", `[@lfm/probe] label-only asks about ${rows} rows; the budget is ${budget}`, {
        hint: `fewer --copies: ${Math.max(0, Math.floor(budget / (rows / (1 + c.copies))) - 1)} fit`,
      });
    const box = await createBlackBox(context.engine, victim, { budget, offers: "labels" });
    const total = rows / (1 + c.copies);
    let done = 0;
    const ask = async (name: string, q: Questions): Promise<{ readonly signals: Signals; readonly scores: Float64Array }> => {
      const [right, scores] = [new Float64Array(q.labels.length), new Float64Array(q.labels.length)];
      for (const [i, label] of q.labels.entries()) {
        throwIfAborted(context.signal, "[@lfm/probe] label-only");
        const rng = context.rng.split(`${name} ${i}`);
        const own = q.kind === "tokens" ? q.sequences[i]! : q.items[i]!;
        const copies = Array.from({ length: c.copies }, () => disturbed(q, i, c.noise, rng));
        const { data, shape } = await box.predict(askable(q, [own, ...copies]));
        const hits = Array.from({ length: 1 + c.copies }, (_, k) => Number(data[k * shape[1]! + label]));
        right[i] = hits[0]!;
        scores[i] = hits.reduce((a, b) => a + b, 0) / hits.length;
        context.progress({ phase: "labels", done: ++done, total, unit: "example" });
      }
      // Labels tell of losses only whether an answer is right.
      return { signals: { losses: right.map((r) => 1 - r), odds: right, right }, scores };
    };
    try {
      const inside = await ask("member", sides.members);
      const outside = await ask("non-member", sides.nonMembers);
      const scores = { members: inside.scores, nonMembers: outside.scores };
      const found = toldApart(scores, { members: inside.signals, nonMembers: outside.signals }, box.queries);
      const { membersLoss: _m, nonMembersLoss: _n, ...measured } = found.measured;
      return { ...found, measured };
    } finally {
      await box.dispose();
    }
  },
});
