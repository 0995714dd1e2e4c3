import type { Examples } from "@lfm/data";
import { textRules } from "@lfm/models";
import { describe, expect, it } from "vitest";
import { tokenizerOf } from "../../test/word-tokenizer.js";
import { choiceRows, classChoices } from "./choice-rows.js";

const words = ["<pad>", "</s>", "good", "bad", "a", "b", "c"];
const rules = textRules(tokenizerOf(words));
const completions = (...rows: (readonly [string, string])[]): Examples => ({
  kind: "completion",
  rows: rows.map(([prompt, completion]) => ({ prompt, completion })),
});

describe("questions with one of a few answers", () => {
  it("by hand: prompts, what follows them, and the first token of each answer", () => {
    expect(choiceRows(completions(["a b", "good"], ["c", " bad"], ["a", "good"]), rules)).toEqual({
      prompts: [[4, 5], [6], [4]],
      completions: [
        [2, 1],
        [3, 1],
        [2, 1],
      ],
      labels: Int32Array.of(0, 1, 0),
      answers: [
        { text: "good", place: 2 },
        { text: "bad", place: 3 },
      ],
    });
    const labelled: Examples = {
      kind: "classification",
      rows: [
        { text: "a", label: "good" },
        { text: "b", label: "bad" },
      ],
    };
    expect(choiceRows(labelled, rules).prompts).toEqual([[4], [5]]);
  });

  it("of a classifier: its classes by number", () => {
    const labelled: Examples = { kind: "classification", rows: [{ text: "a b", label: "yes" }] };
    expect(classChoices(labelled, rules, ["no", "yes"])).toEqual({
      prompts: [[4, 5]],
      completions: [[]],
      labels: Int32Array.of(1),
      answers: [
        { text: "no", place: 0 },
        { text: "yes", place: 1 },
      ],
    });
  });

  it("are refused where answers cannot be told apart by their first token, or there is nothing to choose", () => {
    const code = (examples: Examples): unknown => {
      try {
        return choiceRows(examples, rules);
      } catch (error) {
        return (error as { code: string }).code;
      }
    };
    expect(code(completions(["a", "good a"], ["b", "good b"]))).toBe("CONFIG_INVALID");
    expect(code(completions(["a", "good"], ["b", "good"]))).toBe("CONFIG_INVALID");
    expect(code(completions(["a", "good"], ["b", " "]))).toBe("CONFIG_INVALID");
    expect(code({ kind: "text", rows: [{ text: "a" }] })).toBe("CONFIG_INVALID");
  });
});
