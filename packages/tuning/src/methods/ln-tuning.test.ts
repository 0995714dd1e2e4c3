import { describe, expect, it } from "vitest";
import { goldenModel } from "../../test/golden-case.js";
import { expectPeftSteps, learnedOf } from "../../test/peft-steps.js";
import { lnTuning } from "./ln-tuning.js";

describe("LN tuning", () => {
  it.each(["ln-llama", "ln-gpt2", "ln-bert"])("five steps as PEFT, and its files: %s", async (name) => {
    await expectPeftSteps(lnTuning, name);
  });

  it("takes the norms that are named, all by default, and no others", () => {
    const model = goldenModel("llama");
    const names = (c: object): readonly string[] => Object.keys(learnedOf(lnTuning, model, c)).sort();
    const layer = (i: number): string[] => [
      `model.layers.${i}.input_layernorm.weight`,
      `model.layers.${i}.post_attention_layernorm.weight`,
    ];
    expect(names({})).toEqual([...layer(0), ...layer(1), "model.norm.weight"]);
    expect(names({ excludeModules: ["post_attention_layernorm"] })).toEqual([layer(0)[0], layer(1)[0], "model.norm.weight"]);
    expect(names({ targetModules: ["norm"] })).toEqual(["model.norm.weight"]);
    expect(() => names({ targetModules: ["input_layernrom"] })).toThrow(/no norm is called/);
    expect(() => names({ targetModules: ["q_proj"] })).toThrow(/no norm is called/);
  });
});
