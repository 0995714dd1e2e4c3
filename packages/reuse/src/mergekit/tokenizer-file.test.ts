import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { LfmError } from "@lfm/core";
import { afterAll, describe, expect, it } from "vitest";
import { plainToken, readTokenizerFile, type TokenizerFile, withAddedTokens, withoutTokensFrom } from "./tokenizer-file.js";

const folder = mkdtempSync(join(tmpdir(), "lfm-tokenizer-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

function tokenizer(model: unknown, added: readonly (readonly [string, number])[] = []): TokenizerFile {
  const added_tokens = added.map(([content, id]) => ({ ...plainToken(content), id, special: true }));
  writeFileSync(join(folder, "tokenizer.json"), JSON.stringify({ version: "1.0", added_tokens, model }));
  return readTokenizerFile(folder, [], "m")!;
}

const words = (...tokens: string[]): unknown => ({ type: "WordLevel", vocab: Object.fromEntries(tokens.map((t, i) => [t, i])) });

describe("added tokens", () => {
  it("follow the largest id, known ones keep theirs, and the last settings count", () => {
    const found = withAddedTokens(tokenizer(words("a", "b"), [["<s>", 7]]), [
      plainToken("c"),
      plainToken("b"),
      plainToken(""),
      { ...plainToken("<s>"), lstrip: true },
    ]);
    expect([...found.vocabulary]).toEqual([
      ["a", 0],
      ["b", 1],
      ["<s>", 7],
      ["c", 8],
    ]);
    expect(found.json.added_tokens.map((t) => [t.content, t.id, t.lstrip])).toEqual([
      ["b", 1, false],
      ["<s>", 7, true],
      ["c", 8, false],
    ]);
  });

  it("come after the vocabulary where the added ones so far lie within it", () => {
    expect(withAddedTokens(tokenizer(words("<s>", "a", "b"), [["<s>", 0]]), [plainToken("x"), plainToken("y")]).vocabulary.get("y")).toBe(
      4,
    );
  });

  it("are numbered after the pieces of a Unigram", () => {
    const unigram = {
      type: "Unigram",
      vocab: [
        ["<unk>", 0],
        ["▁a", -1.5],
      ],
    };
    expect([...withAddedTokens(tokenizer(unigram), [plainToken("x")]).vocabulary.values()]).toEqual([0, 1, 2]);
  });
});

describe("tokens without a row", () => {
  it("leave a BPE with the merges that make or take them", () => {
    const bpe = { type: "BPE", vocab: { a: 0, b: 1, c: 2, ab: 3, abc: 4 }, merges: ["a b", ["ab", "c"]] };
    const found = withoutTokensFrom(tokenizer(bpe, [["<x>", 5]]), 4, "m");
    expect([...found.vocabulary.keys()]).toEqual(["a", "b", "c", "ab"]);
    expect(found.json.model.merges).toEqual(["a b"]);
    expect(found.json.added_tokens).toEqual([]);
  });

  it("cannot leave other kinds; where there are none nothing changes", () => {
    const file = tokenizer(words("a", "b", "c"));
    expect(withoutTokensFrom(file, 3, "m")).toBe(file);
    expect(() => withoutTokensFrom(file, 2, "m")).toThrow(/"m" has 1 tokens without a row; of a WordLevel/);
  });
});

describe("readTokenizerFile", () => {
  it("says how to get a tokenizer.json where there are only older files", () => {
    const empty = join(folder, "none");
    expect(readTokenizerFile(empty, [], "m")).toBeUndefined();
    const refuse = (): unknown => readTokenizerFile(empty, ["tokenizer.model"], "m");
    expect(refuse).toThrow(LfmError);
    expect(refuse).toThrow(/"m" has tokenizer.model but no tokenizer.json/);
  });

  it("refuses what is no tokenizer", () => {
    expect(() => tokenizer({ type: "BPE" })).toThrow(/tokenizer.json/);
    writeFileSync(join(folder, "tokenizer.json"), "{");
    expect(() => readTokenizerFile(folder, [], "m")).toThrow(/tokenizer.json is not JSON/);
  });
});
