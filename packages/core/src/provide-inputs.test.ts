import { describe, expect, it } from "vitest";
import { z } from "zod";
import { f32 } from "./dtype.js";
import { defineMethod } from "./method.js";
import { inputKind, inputsOf, parentInput, takes, weightsInput } from "./method-inputs.js";
import type { Weights } from "./model.js";
import { provideInputs, provider } from "./provide-inputs.js";

interface Inputs {
  readonly base: Weights;
  readonly parent?: string;
  readonly score?: number;
}
const config = z.strictObject({ weighs: z.boolean().default(false) });
const method = defineMethod({
  id: "toy",
  paradigm: "reuse",
  summary: "A method.",
  paper: { title: "T", year: 2020, survey: "5" },
  needs: [],
  inputs: {
    base: weightsInput,
    parent: { kind: parentInput, as: "of-model", optional: true },
    score: { kind: inputKind<number>("score"), when: (c) => c.weighs, about: "what counts" },
  },
  config,
  run: async (inputs: Inputs) => inputs,
});
const base = { w: f32([1]) };
const asked: string[] = [];
const providers = [
  provider(weightsInput, () => base),
  provider(inputKind<number>("score"), async ({ name, about }) => {
    asked.push(`${name}: ${about}`);
    return 3;
  }),
];

describe("what a method is given by kind", () => {
  it("is what it reads under its options, in the order of its declaration", async () => {
    expect(inputsOf(method).map((i) => [i.field, i.kind, i.name, i.optional])).toEqual([
      ["base", "weights", "base", false],
      ["parent", "parent", "of-model", true],
      ["score", "score", "score", false],
    ]);
    expect(await provideInputs("bench", method, { weighs: false }, providers)).toEqual({ base });
    expect([takes(method, "score"), takes(method, "members")]).toEqual([true, false]);
    expect(asked).toEqual([]);
    expect(await provideInputs("bench", method, { weighs: true }, providers)).toEqual({ base, score: 3 });
    expect(asked).toEqual(["score: what counts"]);
  });

  it("fails where nobody has what it must have, and leaves out what is optional and not there", async () => {
    const parent = provider(parentInput, () => undefined);
    expect(await provideInputs("bench", method, { weighs: false }, [...providers, parent])).toEqual({ base });
    await expect(provideInputs("[@lfm/bench] glyphs", method, { weighs: true }, providers.slice(0, 1))).rejects.toMatchObject({
      code: "CAPABILITY_MISSING",
      message: "[@lfm/bench] glyphs has no score to give to toy",
    });
  });
});
