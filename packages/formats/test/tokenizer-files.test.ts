import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { hasTokenizer } from "../src/tokenizer/describe-tokenizer.js";
import { loadTokenizer } from "../src/tokenizer/load-tokenizer.js";
import type { Tokenizer } from "../src/tokenizer/tokenizer.js";

interface Golden {
  readonly vocab_size: number;
  readonly specials: Readonly<Record<string, number | null>>;
  readonly ids: readonly (readonly number[])[];
  readonly bare: readonly (readonly number[])[];
  readonly decoded: readonly string[];
  readonly pair: readonly [readonly number[], readonly number[]];
}

const root = join(import.meta.dirname, "golden/tokenizer-files");
const { texts } = JSON.parse(readFileSync(join(root, "texts.json"), "utf8")) as { readonly texts: readonly string[] };
const kinds = [
  "gpt2",
  "gpt2-bos",
  "roberta",
  "qwen2",
  "bert",
  "bert-cased",
  "distilbert",
  "llama",
  "llama-legacy",
  "llama-bare",
  "gemma",
  "t5",
  "xlm-roberta",
];

describe.each(kinds)("vocabulary files of %s against transformers", (kind) => {
  const golden = JSON.parse(readFileSync(join(root, kind, "golden.json"), "utf8")) as Golden;
  let tokenizer: Tokenizer;
  beforeAll(async () => {
    tokenizer = await loadTokenizer(join(root, kind));
  });

  it("give the same ids for every text", () => {
    expect(texts.length).toBeGreaterThan(200);
    expect(hasTokenizer(join(root, kind))).toBe(true);
    const shown = (ids: readonly number[], i: number): object => ({ text: texts[i], ids: ids.join() });
    expect(texts.map((text, i) => shown(tokenizer.encode(text).ids, i))).toEqual(golden.ids.map(shown));
    const bare = texts.slice(0, golden.bare.length).map((text) => tokenizer.encode(text, { addSpecialTokens: false }).ids);
    expect(bare.map(shown)).toEqual(golden.bare.map(shown));
  });

  it("give the same texts for ids", () => {
    const shown = (decoded: string, i: number): object => ({ text: texts[i], decoded });
    expect(golden.ids.map((ids, i) => shown(tokenizer.decode(ids, { skipSpecialTokens: true }), i))).toEqual(golden.decoded.map(shown));
  });

  it("have the same special tokens, as many ids, and the same pairs", () => {
    expect(tokenizer.vocabSize).toBe(golden.vocab_size);
    expect(Object.fromEntries(Object.entries(tokenizer.specials).map(([name, id]) => [name, id ?? null]))).toEqual(golden.specials);
    const { ids, segments } = tokenizer.encode("a model", { pair: "learns" });
    expect([ids, segments]).toEqual(golden.pair);
  });
});

describe("vocabulary files", () => {
  const scratch = mkdtempSync(join(tmpdir(), "lfm-vocabulary-"));
  afterAll(() => rmSync(scratch, { recursive: true }));
  const copy = (kind: string): string => {
    const folder = mkdtempSync(join(scratch, `${kind}-`));
    cpSync(join(root, kind), folder, { recursive: true });
    return folder;
  };

  it("of a class that is not known are refused with the line that converts them", async () => {
    const folder = copy("bert");
    writeFileSync(join(folder, "tokenizer_config.json"), '{"tokenizer_class": "BertJapaneseTokenizer"}');
    await expect(loadTokenizer(folder)).rejects.toMatchObject({
      code: "CAPABILITY_MISSING",
      message: expect.stringContaining("BertJapaneseTokenizer"),
      hint: expect.stringMatching(/^python -c 'from transformers .*save_pretrained/),
    });
    rmSync(join(folder, "tokenizer_config.json"));
    writeFileSync(join(folder, "config.json"), "{}");
    await expect(loadTokenizer(folder)).rejects.toMatchObject({ code: "CAPABILITY_MISSING" });
  });

  it("that belong together and are not all there are named", async () => {
    const folder = copy("gpt2");
    rmSync(join(folder, "merges.txt"));
    await expect(loadTokenizer(folder)).rejects.toMatchObject({ code: "FILE_IO", message: expect.stringContaining("no merges.txt") });
    await expect(loadTokenizer(scratch)).rejects.toMatchObject({ code: "FILE_IO", message: expect.stringContaining("vocab.txt") });
    expect(hasTokenizer(scratch)).toBe(false);
  });

  it.each([
    ["gpt2", "merges.txt", "#version: 0.2\na b c\n", /merges\.txt:2 is no pair/],
    ["gpt2", "vocab.json", '{"a": 0.5}', /the id of "a" is 0\.5/],
    ["bert", "vocab.txt", "a\nb\n", /has no "\[CLS\]"|has no "\[SEP\]"/],
    ["t5", "spiece.model", "no model", /spiece\.model is no SentencePiece model/],
    ["t5", "spiece.model", "", /has no pieces/],
  ])("%s with a broken %s are refused by name", async (kind, file, content, message) => {
    const folder = copy(kind);
    writeFileSync(join(folder, file), content);
    if (kind === "bert")
      writeFileSync(join(folder, "tokenizer_config.json"), '{"tokenizer_class": "BertTokenizer", "cls_token": null, "sep_token": null}');
    await expect(loadTokenizer(folder)).rejects.toMatchObject({ name: "LfmError" });
    if (kind !== "bert") await expect(loadTokenizer(folder)).rejects.toThrow(message);
  });
});
