import { describe, expect, it } from "vitest";
import { axisScores, EditTally, overallScore } from "./edit-scores.js";
import type { EditProbe } from "./probes.js";
import type { ProbeReading } from "./protocols.js";

/** An answer of one token: 1 is right, what it wants; 2 is the rival. */
const said = (token: number, text: string): ProbeReading => ({
  answer: { logProbs: [Math.log(token === 1 ? 0.8 : 0.1)], said: [token] },
  wanted: [1],
  rival: { logProbs: [Math.log(token === 2 ? 0.8 : 0.1)], said: [token] },
  unwanted: [2],
  generated: { text, ended: true },
});
const fresh: EditProbe = { kind: "paraphrase", prompt: "p", answer: "new", rival: "old" };
const hop: EditProbe = { kind: "one-hop", prompt: "h", answer: "far", rival: "near" };
const other: EditProbe = { kind: "same-subject", prompt: "s", answer: "kept" };

describe("the tally of edits", () => {
  const tally = new EditTally(2);
  // One edit with two paraphrases of which one comes true, its hop does not; one with one that does, and a fact it breaks.
  tally.add("a", [fresh, fresh, hop], [said(2, "old"), said(2, "old"), said(2, "near")], [said(1, "new"), said(2, "old"), said(2, "near")]);
  tally.add("b", [fresh, other], [said(2, "old"), said(1, "kept")], [said(1, "new"), said(5, "gone")]);
  const scores = tally.scores();

  it("counts each edit once, however many questions it has", () => {
    expect(scores.paraphrase).toMatchObject({
      probes: 3,
      known: 1,
      after: { success: 75, exact: 75, generated: 75, ended: 75, difference: expect.closeTo((0 + 0.7) / 2, 12), unchanged: 25 },
      before: { success: 0, generated: 0, unchanged: null },
    });
    expect(scores["same-subject"]).toMatchObject({ probes: 1, known: 1, after: { unchanged: 0, exact: 0 }, before: { exact: 100 } });
    expect(scores["one-hop"]?.after.generated).toBe(0);
  });

  it("leaves what was not asked null, and out of the mean", () => {
    expect([scores.efficacy, scores.inverse]).toEqual([null, null]);
    const axes = axisScores(scores);
    expect(axes).toEqual({ efficacy: null, generalisation: 75, portability: 0, locality: 0 });
    expect(overallScore(axes)).toBe(25);
    expect(axisScores(scores, "before")).toEqual({ efficacy: null, generalisation: 0, portability: 0, locality: 100 });
    expect(overallScore(axisScores(new EditTally().scores()))).toBeNull();
  });

  it("remembers the worst answers in words, one of each kind first", () => {
    const worst = tally.worst();
    expect(worst).toHaveLength(2);
    expect(new Set(worst.map((w) => w.probe.kind)).size).toBe(2);
    expect(worst.every((w) => w.before !== "" && w.after !== w.probe.answer)).toBe(true);
  });

  it("blames no edit for what the model did not know", () => {
    const blameless = new EditTally();
    blameless.add("c", [other], [said(5, "wrong")], [said(6, "wrong too")]);
    expect(blameless.worst()).toEqual([]);
  });
});
