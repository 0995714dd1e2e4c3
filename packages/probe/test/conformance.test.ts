import { type AnyMethod, referenceEngine } from "@lfm/core";
import { conformMethod } from "@lfm/core/testing";
import { expect, it } from "vitest";
import {
  calibratedLoss,
  deepWordBug,
  equationSolving,
  exposure,
  fgm,
  hotflip,
  labelOnly,
  lira,
  lossMembership,
  type ProbeOutput,
  pgd,
  probeMethods,
  rmia,
  textFooler,
} from "../src/index.js";
import { asExamples, drawPoints, range, trainLinear } from "./linear-models.js";
import { smallBert, smallTexts } from "./small-bert.js";
import { rules } from "./small-words.js";

const points = drawPoints(24, 3, 6);
const members = { members: asExamples(points, range(0, 12)), nonMembers: asExamples(points, range(12, 24)) };
const victim = trainLinear(points, range(0, 12));
const half = (from: number): boolean[] => range(from, from + 12).map((i) => i % 2 === 0);
const references = [0, 1, 2, 3].map((k) => {
  const saw = (from: number): boolean[] => half(from).map((even) => even === (k % 2 === 0));
  return { model: trainLinear(drawPoints(12, 20 + k, 6), range(0, 12)), saw: { members: saw(0), nonMembers: saw(12) } };
});

const texts = { victim: smallBert, texts: { texts: ["aaa bbb ccc", "ddd eee"], labels: [0, 0] }, text: rules };

/** The smallest run of each probe. */
const runs: readonly (readonly [AnyMethod, () => Readonly<Record<string, unknown>>, Readonly<Record<string, unknown>>])[] = [
  [lossMembership, () => ({ victim, ...members }), {}],
  [calibratedLoss, () => ({ victim, ...members, references }), {}],
  [lira, () => ({ victim, ...members, references }), {}],
  [rmia, () => ({ victim, ...members, references }), {}],
  [labelOnly, () => ({ victim, ...members }), { copies: 2 }],
  [exposure, () => ({ victim, ...members }), {}],
  [fgm, () => ({ victim, examples: members.members }), {}],
  [pgd, () => ({ victim, examples: members.members }), { steps: 3 }],
  [hotflip, () => ({ victim: smallBert, examples: smallTexts(3, () => 0) }), { beam: 2 }],
  [textFooler, () => texts, { minCosine: -1 }],
  [deepWordBug, () => texts, {}],
  [equationSolving, () => ({ victim, examples: members.members }), {}],
];

it("every probe is held to the contract of methods", async () => {
  expect(runs.map(([m]) => m.id)).toEqual(probeMethods.map((m) => m.id));
  for (const [method, inputs, config] of runs) {
    const passed = await conformMethod(method, {
      engine: referenceEngine(),
      inputs,
      config,
      observe: (output: ProbeOutput) => output.findings,
      reload: async (output: ProbeOutput) => JSON.parse(JSON.stringify(output)) as ProbeOutput,
    });
    expect(passed.length, method.id).toBeGreaterThan(5);
  }
});
