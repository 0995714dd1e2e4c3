import { join } from "node:path";
import { Rng } from "@lfm/core";
import { loadTokenizer } from "@lfm/formats";
import { describe, expect, it } from "vitest";
import { stopTexts } from "./stop-texts.js";
import { TextStream } from "./text-stream.js";

/** One token a byte; 0 is special. */
const bytes = {
  decode: (ids: readonly number[], { skipSpecialTokens = true }: { readonly skipSpecialTokens?: boolean } = {}): string =>
    Buffer.from(ids.filter((id) => id > 0 || !skipSpecialTokens)).toString("utf8"),
};
const idsOf = (text: string): readonly number[] => [...Buffer.from(text)];

function shown(text: string, stops: readonly string[] = []): readonly string[] {
  const rules = stopTexts(bytes, stops);
  const stream = new TextStream(bytes, rules);
  const tokens: number[] = [];
  const pieces: string[] = [];
  for (const id of idsOf(text)) {
    tokens.push(id);
    pieces.push(stream.push(id));
    if (rules.reached?.(tokens)) break;
  }
  return [...pieces, stream.end(rules.cut(bytes.decode(tokens)))].filter((piece) => piece !== "");
}

describe("text as its tokens come", () => {
  it("has no half characters, and what never becomes one comes at the end", () => {
    expect(shown("aé€😀b")).toEqual(["a", "é", "€", "😀", "b"]);
    const stream = new TextStream(bytes, stopTexts(bytes, []));
    expect([97, 0xf0, 0x9f].map((id) => stream.push(id))).toEqual(["a", "", ""]);
    expect(stream.end(bytes.decode([97, 0xf0, 0x9f]))).toBe("\uFFFD");
    expect(stream.push(0), "special tokens are no text").toBe("");
  });

  it("holds back what a stop text may begin with, until it is known to be none", () => {
    expect(shown("one two three", ["two", "tw!"])).toEqual(["o", "n", "e", " "]);
    expect(shown("a tea tree", ["tre!", "ted"])).toEqual(["a", " ", "tea", " ", "tree"]);
    expect(shown("aab", ["ab"])).toEqual(["a"]);
    expect(shown("abab!", ["abac"])).toEqual(["ab", "ab!"]);
    expect(shown("nothing", ["g!"])).toEqual(["n", "o", "t", "h", "i", "n", "g"]);
  });

  it("is the text of all tokens together, piece by piece, of the tokenizer of a model", async () => {
    const tokenizer = await loadTokenizer(join(import.meta.dirname, "../../test/golden/text"));
    const rng = new Rng(5);
    for (let run = 0; run < 30; run++) {
      const ids = Array.from({ length: 1 + rng.int(12) }, () => rng.int(tokenizer.vocabSize));
      const whole = tokenizer.decode(ids, { skipSpecialTokens: true });
      const stream = new TextStream(tokenizer, stopTexts(tokenizer, []));
      const pieces = ids.map((id) => stream.push(id));
      expect(pieces.join("") + stream.end(whole)).toBe(whole);
    }
  });
});
