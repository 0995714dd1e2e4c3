import { readFileSync } from "node:fs";
import { join } from "node:path";
import { f32, i32, type MethodContext, parseConfig, Rng, referenceEngine } from "@lfm/core";
import { wordTokenizer } from "@lfm/formats";
import { initWeights, llama, loadModel, textRules } from "@lfm/models";
import { languageModelTask } from "@lfm/train";
import { describe, expect, it } from "vitest";
import { goldenSteps, worst } from "../../test/golden-case.js";
import type { TuningInputs } from "../define-tuning.js";
import { prompt } from "./prompt.js";

const context: MethodContext = {
  engine: referenceEngine(),
  rng: new Rng(1),
  access: ["weights", "grad"],
  log: () => {},
  progress: () => {},
};
const task = languageModelTask("none", () => ({ tokens: i32([1, 2], [1, 2]), weights: f32([1, 1], [1, 2]) }));
const sizes = { vocab_size: 8, hidden_size: 4, intermediate_size: 4, num_hidden_layers: 1, num_attention_heads: 2 };
// Row i of the embedding is i, i, i, i.
const plain = llama(sizes, initWeights(llama(sizes).info, { seed: 1 }));
const table = f32(
  Array.from({ length: 32 }, (_, i) => Math.floor(i / 4)),
  [8, 4],
);
const model = { ...plain, params: { ...plain.params, "model.embed_tokens.weight": table } };
const words = ["<pad>", "</s>", "good", "bad", "not", "very", "a", "b"];
const text = textRules(
  wordTokenizer({
    size: 8,
    pad: 0,
    eos: 1,
    encode: (t) =>
      t
        .split(" ")
        .filter(Boolean)
        .map((w) => words.indexOf(w)),
    decode: (ids) => [...ids].map((id) => words[id]!).join(" "),
  }),
);
const begun = (options: object, given: Partial<TuningInputs> = {}): number[] => {
  const { learned } = prompt.start({ model, task, ...given }, parseConfig(prompt, { numVirtualTokens: 5, ...options }), context);
  expect(learned.prompt_embeddings!.shape).toEqual([5, 4]);
  return Array.from({ length: 5 }, (_, i) => Number(learned.prompt_embeddings!.data[4 * i]));
};

describe("a prompt begins", () => {
  it.each([3, 11])("with the words of a text, cut or repeated to %i, as PEFT's TEXT", async (v) => {
    const folder = join(import.meta.dirname, "../../test/golden/initial-prompts/golden.json");
    const { text: given } = JSON.parse(readFileSync(folder, "utf8")) as { readonly text: string };
    const opened = await loadModel(join(import.meta.dirname, "../../../models/test/golden/text"));
    const config = parseConfig(prompt, { numVirtualTokens: v, init: "text", initText: given });
    const { learned } = prompt.start({ ...opened, task }, config, context);
    expect(worst(learned.prompt_embeddings!, goldenSteps("initial-prompts").get(`text.${v}/out/prompt_embeddings`))).toBe(0);
  });

  it("with a text by hand: good bad good bad good", () => {
    expect(begun({ init: "text", initText: "good bad" }, { text })).toEqual([2, 3, 2, 3, 2]);
  });

  it("with the names of the classes, the mean of those of several words, and then with words of the vocabulary's front", () => {
    // "not very" is the mean of 4 and 5.
    const [first, second, ...rest] = begun({ init: "labels", initVocabulary: 2 }, { text, answers: ["good", "not very"] });
    expect([first, second]).toEqual([2, 4.5]);
    expect(rest.every((v) => v === 0 || v === 1)).toBe(true);
    expect(begun({ init: "labels" }, { text, answers: ["good", "bad", "a", "b", "not", "very"] })).toEqual([2, 3, 6, 7, 4]);
  });

  it("with words from so many first rows alone", () => {
    const drawn = Array.from({ length: 20 }, (_, seed) => {
      const rng = new Rng(seed);
      const { learned } = prompt.start({ model, task }, parseConfig(prompt, { initVocabulary: 3 }), { ...context, rng });
      return Array.from(learned.prompt_embeddings!.data, Number);
    }).flat();
    expect([...new Set(drawn)].sort()).toEqual([0, 1, 2]);
  });

  it("at random: N(0, 1), or within ±½", () => {
    const values = (init: string): number[] =>
      Array.from(
        prompt.start({ model, task }, parseConfig(prompt, { init, numVirtualTokens: 1000 }), context).learned.prompt_embeddings!.data,
        Number,
      );
    const square = (x: number[]): number => x.reduce((s, v) => s + v * v, 0) / x.length;
    expect(square(values("random"))).toBeCloseTo(1, 1);
    const uniform = values("uniform");
    expect(square(uniform)).toBeCloseTo(1 / 12, 2);
    expect(Math.max(...uniform.map(Math.abs))).toBeLessThanOrEqual(0.5);
  });

  it("with nothing that is not there, said by name", () => {
    const refused = (options: object, given: Partial<TuningInputs> = {}): unknown => {
      try {
        return begun(options, given);
      } catch (error) {
        return (error as { code: string }).code;
      }
    };
    expect(refused({ init: "text", initText: "good" })).toBe("CONFIG_INVALID");
    expect(refused({ init: "text" }, { text })).toBe("CONFIG_INVALID");
    expect(refused({ init: "text", initText: " " }, { text })).toBe("CONFIG_INVALID");
    expect(refused({ init: "labels" }, { text })).toBe("CONFIG_INVALID");
    expect(refused({ initText: "good" }, { text })).toBe("CONFIG_INVALID");
  });
});

it("learns as many values as PEFT counts on GPT-2 small: 20·768", () => {
  const { learned } = prompt.start(
    { model: { ...model, info: { ...model.info, hiddenSize: 768 } }, task },
    parseConfig(prompt, { init: "random" }),
    context,
  );
  expect(learned.prompt_embeddings!.data.length).toBe(15_360);
});
