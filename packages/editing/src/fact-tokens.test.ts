import { isLfmError } from "@lfm/core";
import { wordTokenizer } from "@lfm/formats";
import { textRules } from "@lfm/models";
import { describe, expect, it } from "vitest";
import { type FactInWords, factTokens } from "./fact-tokens.js";

/** Pieces that know their words, longest first: "Adaville" is one, and so is "Ada". */
function pieces(known: readonly string[], lower = false) {
  const find = (text: string): number[] => {
    const ids: number[] = [];
    for (let at = 0; at < text.length; ) {
      const id = known.reduce((best, piece, i) => (text.startsWith(piece, at) && piece.length > (known[best]?.length ?? 0) ? i : best), 0);
      ids.push(id);
      at += Math.max(1, id === 0 ? 1 : known[id]!.length);
    }
    return ids;
  };
  return wordTokenizer({
    size: known.length,
    bos: 1,
    unk: 0,
    encode: (text) => find(lower ? text.toLowerCase() : text),
    decode: (ids) => Array.from(ids, (id) => known[id]).join(""),
  });
}

const known = [
  "",
  "<s>",
  "the",
  " home",
  " of",
  " Ada",
  " is",
  " Paris",
  "ville",
  " Adaville",
  " Lov",
  "elace",
  " Love",
  "lace",
  "Ada",
  " New York",
  " is so",
];
const rules = textRules(pieces(known), { limits: { maxLength: 12, vocabSize: known.length } });
const id = (piece: string): number => known.indexOf(piece);
const fact = (over: Partial<FactInWords> = {}): FactInWords => ({
  prompt: "the home of Ada is",
  subject: "Ada",
  subjectStart: 12,
  target: "Paris",
  ...over,
});

describe("a fact as tokens", () => {
  it("knows its subject's last token and its answer as it follows the prompt", () => {
    const expected = { prompt: [1, ...["the", " home", " of", " Ada", " is"].map(id)], subjectEnd: 4, target: [id(" Paris")], start: 1 };
    expect(factTokens(rules, fact())).toEqual(expected);
    expect(factTokens(rules, fact({ target: " Paris" }))).toEqual(expected);
    expect(factTokens(rules, fact({ target: "Paris New York" })).target).toEqual([id(" Paris"), id(" New York")]);
    expect(factTokens(rules, fact({ prompt: "Ada is", subjectStart: 0 })).subjectEnd).toBe(1);
  });

  it("finds the token that a subject ends in where others are read with what follows", () => {
    // " Adaville" is one token: the subject's last letter is in it.
    expect(factTokens(rules, fact({ prompt: "the home of Adaville is" })).subjectEnd).toBe(4);
    // By itself " Lov" + "elace"; in the prompt nothing else follows, so the longest pieces are " Love" + "lace".
    const lovelace = fact({ prompt: "the home of Lovelaceville is", subject: "Lovelace" });
    const { prompt, subjectEnd } = factTokens(rules, lovelace);
    expect(prompt[subjectEnd]).toBe(id("lace"));
    const lower = textRules(
      pieces(
        known.map((k) => k.toLowerCase()),
        true,
      ),
      { limits: { vocabSize: known.length } },
    );
    const lost = refusal(() => factTokens(lower, fact({ prompt: "the home of Adaville is" })));
    expect([lost.message, lost.hint]).toEqual([
      expect.stringContaining('no token tells where the subject "Ada" ends'),
      "put a space behind {}",
    ]);
  });

  it.each<[string, FactInWords, string]>([
    ["no subject in the prompt", { prompt: "the home is", subject: "Ada", target: "Paris" }, 'the prompt lacks its subject "Ada"'],
    ["an empty subject", fact({ subject: " " }), "the subject is empty"],
    ["an empty target", fact({ target: "" }), "the target is empty"],
    ["a blank target", fact({ target: "\n " }), "the target is empty"],
    ["a target that the model has no token for", fact({ target: "Oslo" }), 'no token for "Oslo"'],
    [
      "more tokens than the model reads",
      fact({ target: "Paris Paris Paris Paris Paris Paris Paris" }),
      "the fact has 13 tokens, the model reads 12",
    ],
    ["a target that joins the prompt's last word", fact({ target: "so" }), "does not follow the prompt as words of its own"],
  ])("is refused with %s", (_, given, message) => {
    const error = refusal(() => factTokens(rules, { ...given, at: "facts.jsonl:3" }));
    expect([error.code, error.message]).toEqual(["CONFIG_INVALID", expect.stringContaining(message)]);
    expect(error.message).toContain("facts.jsonl:3: ");
  });
});

function refusal(work: () => unknown) {
  try {
    work();
  } catch (error) {
    if (isLfmError(error)) return error;
    throw error;
  }
  throw new Error("nothing was refused");
}
