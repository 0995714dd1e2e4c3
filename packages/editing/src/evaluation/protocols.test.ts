import { describe, expect, it } from "vitest";
import type { EditProbe } from "./probes.js";
import { beginsWith, knewAnswer, mainProtocol, type ProbeReading, scoreProbe } from "./protocols.js";

const log = (...p: readonly number[]): number[] => p.map(Math.log);
const probe: EditProbe = { kind: "efficacy", prompt: "Ada lives in", answer: "New York", rival: "Rome" };
/** p = .5 and .32, of which the first token alone comes first; the rival's one token has p = .25. */
const reading: ProbeReading = {
  answer: { logProbs: log(0.5, 0.32), said: [7, 1] },
  wanted: [7, 8],
  rival: { logProbs: log(0.25), said: [7] },
  unwanted: [3],
  generated: { text: "New York", ended: true },
};

describe("the protocols, by hand", () => {
  it("compare likelihoods per token: √(.5 · .32) = .4 against .25", () => {
    const scores = scoreProbe(probe, reading);
    expect(scores.success).toBe(1);
    expect(scores.difference).toBeCloseTo(0.4 - 0.25, 12);
    const longer = { ...reading, rival: { logProbs: log(0.9, 0.9, 0.9), said: [1, 1, 1] } };
    expect(scoreProbe(probe, longer)).toMatchObject({ success: 0, difference: expect.closeTo(0.4 - 0.9, 12) });
  });

  it("count tokens that come first, and whether all do", () => {
    expect(scoreProbe(probe, reading)).toMatchObject({ "token-accuracy": 0.5, exact: 0 });
    const right = { ...reading, answer: { logProbs: log(0.5, 0.5), said: [7, 8] } };
    expect(scoreProbe(probe, right)).toMatchObject({ "token-accuracy": 1, exact: 1 });
  });

  it("read what was generated: its beginning, and whether it is all there is", () => {
    const said = (text: string, ended: boolean) => scoreProbe(probe, { ...reading, generated: { text, ended } });
    expect(said("new york", true)).toMatchObject({ generated: 1, ended: 1 });
    expect(said(' "New York', true)).toMatchObject({ generated: 0, ended: 1 });
    expect(said("New York, the city", true)).toMatchObject({ generated: 1, ended: 0 });
    expect(said("New York", false)).toMatchObject({ generated: 1, ended: 0 });
    expect(said("New Yorkers", true)).toMatchObject({ generated: 0, ended: 0 });
    expect(scoreProbe({ ...probe, aliases: ["NYC"] }, { ...reading, generated: { text: "NYC", ended: true } }).generated).toBe(1);
  });

  it("tell what stayed from before, right or wrong", () => {
    const before = { ...reading, answer: { logProbs: log(0.1, 0.1), said: [7, 5] } };
    expect(scoreProbe(probe, reading, before).unchanged).toBe(0.5);
    expect(scoreProbe(probe, reading, reading).unchanged).toBe(1);
  });

  it("are null where a question does not support them", () => {
    const { rival: _r, unwanted: _u, generated: _g, ...bare } = reading;
    expect(scoreProbe(probe, bare)).toMatchObject({ success: null, difference: null, generated: null, ended: null, unchanged: null });
  });
});

it("knows whether the model named the answer from before the edit", () => {
  const named = { ...reading, rival: { logProbs: log(0.9), said: [3] } };
  expect([knewAnswer(probe, reading), knewAnswer(probe, named)]).toEqual([false, true]);
  const kept: EditProbe = { kind: "same-subject", prompt: "Ada eats", answer: "New York" };
  expect([knewAnswer(kept, reading), knewAnswer(kept, { ...reading, answer: { logProbs: log(1, 1), said: [7, 8] } })]).toEqual([
    false,
    true,
  ]);
  const { rival: _r, unwanted: _u, ...bare } = reading;
  expect(knewAnswer(probe, bare)).toBeNull();
});

it("begins with words, not with letters", () => {
  expect(beginsWith(" Paris, France", "Paris")).toBe(true);
  expect(beginsWith("Parisian", "Paris")).toBe(false);
  expect(beginsWith("anything", "")).toBe(false);
});

it("takes generation for what an edit brings, and what stayed for what it leaves alone", () => {
  expect([mainProtocol("one-hop"), mainProtocol("same-value")]).toEqual(["generated", "unchanged"]);
});
