import { mkdtempSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { isLfmError } from "@lfm/core";
import { describe, expect, it } from "vitest";
import { loadTokenizer } from "./load-tokenizer.js";
import { refuseSlowPatterns, repeatsRepeats } from "./slow-patterns.js";
import type { Tokenizer } from "./tokenizer.js";

describe("regular expressions of tokenizers", () => {
  // As they stand in tokenizer.json of GPT-2, Llama 3, GPT-4o, Qwen2, DeepSeek, BLOOM, and one that groups digits from the right.
  it.each([
    String.raw`'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+`,
    String.raw`(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+`,
    String.raw`[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|\p{N}{1,3}|\s+`,
    "[!\"#$%&'()*+,\\-./:;<=>?@\\[\\\\\\]^_`{|}~][A-Za-z]+|[^\\r\\n\\p{L}\\p{P}\\p{S}]?[\\p{L}\\p{M}]+| ?[\\p{P}\\p{S}]+[\\r\\n]*",
    " ?[^(\\s|[.,!?…。，、।۔،])]+",
    String.raw`\p{N}{1,3}(?=(?:\p{N}{3})*(?:\P{N}|$))`,
    "[]*+]+",
  ])("%s passes", (pattern) => expect(repeatsRepeats(pattern)).toBe(false));

  it.each(["(a+)+$", "(([a-z.0-9_]+)+)+X", "(a*)*", "(?:a|b+){2,}", "((x+)y)*", String.raw`(\(+)+`])("%s does not", (pattern) =>
    expect(repeatsRepeats(pattern)).toBe(true),
  );

  it("are looked for wherever a tokenizer has them", () => {
    const slow = { type: "Split", pattern: { Regex: "(a+)+$" } };
    const refused = (description: object): boolean => {
      try {
        refuseSlowPatterns("tokenizer.json", description);
      } catch (error) {
        return isLfmError(error, "OP_UNSUPPORTED") && error.message.includes("(a+)+$");
      }
      return false;
    };
    expect(refused({ pre_tokenizer: { type: "Sequence", pretokenizers: [slow] } })).toBe(true);
    expect(refused({ normalizer: { type: "Replace", pattern: { Regex: "(a+)+$" } } })).toBe(true);
    expect(refused({ pre_tokenizer: { type: "Split", pattern: { String: "(a+)+$" } }, model: { vocab: { Regex: 1 } } })).toBe(false);
  });
});

describe("expressions that are slow in ways that no look at them tells", () => {
  const open = (Regex: string): ReturnType<typeof loadTokenizer> => {
    const folder = mkdtempSync(join(tmpdir(), "lfm-slow-"));
    const description = {
      version: "1.0",
      added_tokens: [],
      normalizer: null,
      pre_tokenizer: { type: "Split", pattern: { Regex }, behavior: "Removed", invert: false },
      post_processor: null,
      decoder: null,
      model: { type: "WordLevel", vocab: { "?": 0, b: 1 }, unk_token: "?" },
    };
    writeFileSync(join(folder, "tokenizer.json"), JSON.stringify(description));
    return loadTokenizer(folder);
  };

  it.each([
    ["(a|a)*c", (t: Tokenizer, text: string) => t.encode(text)],
    ["(?:a|aa)+(?=c)", (t: Tokenizer, text: string) => t.encodeBatch([text])],
  ] as const)("%s: stopped in time", async (pattern, read) => {
    const tokenizer = await open(pattern);
    expect(() => read(tokenizer, "a".repeat(200))).toThrow(
      expect.objectContaining({ code: "BUDGET_EXCEEDED", message: expect.stringContaining("200 characters") }),
    );
    expect(tokenizer.encode("b").ids, "and others are read").toEqual([1]);
  });
});
