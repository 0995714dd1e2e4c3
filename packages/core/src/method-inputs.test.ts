import { describe, expect, it } from "vitest";
import { z } from "zod";
import { defineMethod } from "./method.js";
import { inputKind, inputKindNames, modelInput, parentInput } from "./method-inputs.js";
import type { Model } from "./model.js";

const about = {
  id: "toy",
  paradigm: "tuning",
  summary: "Does nothing.",
  paper: { title: "None", year: 2024 },
  needs: [],
  config: z.strictObject({ deep: z.boolean().default(false) }),
} as const;
const run = async (inputs: { readonly model: Model; readonly parent?: string }): Promise<Model> => inputs.model;

describe("inputs of a method", () => {
  it("are checked by the compiler against what `run` takes", () => {
    const given = defineMethod({ ...about, run, inputs: { model: modelInput, parent: { kind: parentInput, when: (c) => c.deep } } });
    expect(given.inputs.model).toBe(modelInput);
    defineMethod({ ...about, run, inputs: { model: modelInput } });
    // @ts-expect-error a field that `run` needs is not declared
    defineMethod({ ...about, run, inputs: { parent: parentInput } });
    // @ts-expect-error the kind's values are no models
    defineMethod({ ...about, run, inputs: { model: parentInput } });
    // @ts-expect-error an option that the method does not have
    defineMethod({ ...about, run, inputs: { model: { kind: modelInput, when: (c) => c.wide } } });
    // @ts-expect-error a field that `run` does not take
    defineMethod({ ...about, run, inputs: { model: modelInput, teacher: modelInput } });
    // @ts-expect-error a name outside of the closed set
    inputKind<Model>("teacher");
  });

  it("have names that stand once", () => {
    expect(new Set(inputKindNames).size).toBe(inputKindNames.length);
  });
});
