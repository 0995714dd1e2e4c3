import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, it } from "vitest";
import { loadTokenizer } from "../src/tokenizer/load-tokenizer.js";

const folder = join(process.env.LFM_MODELS ?? "", "all-MiniLM-L6-v2");
const there = process.env.LFM_MODELS !== undefined && existsSync(join(folder, "tokenizer.json"));
const title = "all-MiniLM-L6-v2's tokenizer gives transformers' ids";

it.skipIf(!there)(there ? title : `${title} (skipped: LFM_MODELS names no folder with all-MiniLM-L6-v2)`, async () => {
  const { ids, cut, pairs } = JSON.parse(readFileSync(join(import.meta.dirname, "golden/minilm-ids.json"), "utf8")) as {
    ids: [string, number[]][];
    cut: { max_length: number; tokens: number[][] };
    pairs: [string, string, number[], number[]][];
  };
  const tokenizer = await loadTokenizer(folder);
  expect(tokenizer.vocabSize).toBe(30522);
  expect(tokenizer.specials).toEqual({ pad: 0, unk: 100, cls: 101, sep: 102, mask: 103, bos: undefined, eos: undefined });
  const wrong = ids.filter(([text, theirs]) => tokenizer.encode(text).ids.join() !== theirs.join());
  expect(wrong.map(([text, theirs]) => ({ text, theirs, ours: tokenizer.encode(text).ids }))).toEqual([]);
  expect(ids.length).toBeGreaterThan(180);
  for (const [first, pair, theirs, segments] of pairs) expect(tokenizer.encode(first, { pair })).toEqual({ ids: theirs, segments });
  const { tokens } = tokenizer.encodeBatch(
    ids.map(([text]) => text),
    { maxLength: cut.max_length },
  );
  expect(tokens.shape[1]).toBe(cut.max_length);
  expect(Array.from(tokens.data as Int32Array)).toEqual(cut.tokens.flat());
});
