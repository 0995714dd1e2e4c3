import { mkdtempSync, readFileSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { HostTensor } from "@lfm/core";
import { isLfmError } from "@lfm/core";
import fc from "fast-check";
import { beforeAll, describe, expect, it } from "vitest";
import { loadTokenizer } from "../src/tokenizer/load-tokenizer.js";
import { fitPair, type TokenBatch, type Tokenizer } from "../src/tokenizer/tokenizer.js";
import { wordTokenizer } from "../src/tokenizer/word-tokenizer.js";

interface Rows {
  readonly tokens: number[][];
  readonly mask: number[][];
  readonly segments: number[][];
}
interface Golden {
  readonly vocab_size: number;
  readonly ids: [string, number[]][];
  readonly bare: [string, number[]][];
  readonly decoded: string[];
  readonly decoded_plain: string[];
  readonly batch: Rows & { readonly texts: string[]; readonly max_length: number };
  readonly pairs: Rows & { readonly first: string[]; readonly second: string[]; readonly cut: Record<string, Rows> };
}

const rowsOf = (t: HostTensor): number[][] => {
  const [n, seq] = t.shape as [number, number];
  return Array.from({ length: n }, (_, i) => Array.from(t.data.subarray(i * seq, (i + 1) * seq) as Int32Array));
};
const plain = ({ tokens, mask, segments }: TokenBatch): Rows => ({
  tokens: rowsOf(tokens),
  mask: rowsOf(mask),
  segments: rowsOf(segments),
});
const only = ({ tokens, mask, segments }: Rows): Rows => ({ tokens, mask, segments });

describe.each(["wordpiece", "byte-bpe"])("tokenizer %s against transformers", (name) => {
  const folder = join(import.meta.dirname, "golden", name);
  const golden = JSON.parse(readFileSync(join(folder, "golden.json"), "utf8")) as Golden;
  let tokenizer: Tokenizer;
  beforeAll(async () => {
    tokenizer = await loadTokenizer(folder);
  });

  it("gives the same ids for every text", () => {
    expect(golden.ids.length).toBeGreaterThan(180);
    expect(tokenizer.vocabSize).toBe(golden.vocab_size);
    const wrong = golden.ids.filter(([text, ids]) => tokenizer.encode(text).ids.join() !== ids.join());
    expect(wrong.map(([text, ids]) => ({ text, theirs: ids, ours: tokenizer.encode(text).ids }))).toEqual([]);
    for (const [text, ids] of golden.bare) expect(tokenizer.encode(text, { addSpecialTokens: false }).ids, text).toEqual(ids);
  });

  it("gives the same text for ids", () => {
    golden.ids.forEach(([text, ids], i) => {
      expect(tokenizer.decode(ids), text).toBe(golden.decoded[i]);
      expect(tokenizer.decode(ids, { skipSpecialTokens: true }), text).toBe(golden.decoded_plain[i]);
    });
    expect(tokenizer.decode([])).toBe("");
  });

  it("pads on the right, cuts, and makes pairs as it does", () => {
    const { batch, pairs } = golden;
    expect(plain(tokenizer.encodeBatch(batch.texts, { maxLength: batch.max_length }))).toEqual(only(batch));
    expect(plain(tokenizer.encodeBatch(pairs.first, { pairs: pairs.second }))).toEqual(only(pairs));
    for (const [n, rows] of Object.entries(pairs.cut))
      expect(plain(tokenizer.encodeBatch(pairs.first, { pairs: pairs.second, maxLength: Number(n) })), n).toEqual(only(rows));
    const one = tokenizer.encode(pairs.first[0]!, { pair: pairs.second[0]! });
    expect(one.ids).toEqual(pairs.tokens[0]!.filter((_, j) => pairs.mask[0]![j] === 1));
  });

  it("refuses a length without room and pairs that are not as many", () => {
    const codes = [() => tokenizer.encodeBatch(["a"], { maxLength: 1 }), () => tokenizer.encodeBatch(["a"], { pairs: [] })].map((run) => {
      try {
        run();
        return "nothing";
      } catch (error) {
        return isLfmError(error) ? error.code : String(error);
      }
    });
    expect(codes).toEqual(["CONFIG_INVALID", "CONFIG_INVALID"]);
  });

  it("never gives an id outside the vocabulary, whatever the text", () => {
    fc.assert(
      fc.property(fc.string({ unit: "binary", maxLength: 40 }), (text) => {
        const { ids, segments } = tokenizer.encode(text);
        expect(segments.length).toBe(ids.length);
        expect(ids.every((id) => Number.isInteger(id) && id >= 0 && id < tokenizer.vocabSize)).toBe(true);
      }),
      { numRuns: 100, seed: 1 },
    );
  });
});

describe("byte-level BPE", () => {
  it("gives back any text", async () => {
    const tokenizer = await loadTokenizer(join(import.meta.dirname, "golden/byte-bpe"));
    fc.assert(
      fc.property(fc.string({ unit: "grapheme", maxLength: 30 }), (text) => {
        expect(tokenizer.decode(tokenizer.encode(text, { addSpecialTokens: false }).ids)).toBe(text);
      }),
      { numRuns: 300, seed: 2 },
    );
  });
});

describe("loadTokenizer", () => {
  it("says what is missing or broken", async () => {
    const folder = mkdtempSync(join(tmpdir(), "lfm-tokenizer-"));
    const code = async (): Promise<unknown> =>
      loadTokenizer(folder).then(
        () => "loaded",
        (e: unknown) => (isLfmError(e) ? e.code : e),
      );
    expect(await code()).toBe("FILE_IO");
    writeFileSync(join(folder, "tokenizer.json"), "[]");
    expect(await code()).toBe("FILE_FORMAT");
    writeFileSync(
      join(folder, "tokenizer.json"),
      '{"model":{"type":"Nonesuch"},"added_tokens":[],"decoder":null,"post_processor":null,"pre_tokenizer":null,"normalizer":null}',
    );
    expect(await code()).toBe("FILE_FORMAT");
  });
});

describe("fitPair", () => {
  it("keeps what fits, cuts the longer text, never more than needed", () => {
    fc.assert(
      fc.property(fc.nat(50), fc.nat(50), fc.nat(60), (a, b, room) => {
        const [x, y] = fitPair(a, b, room);
        expect(x + y).toBe(Math.min(a + b, room));
        expect(x <= a && y <= b && x >= 0 && y >= 0).toBe(true);
        if (x < a && y < b) expect(Math.abs(x - y)).toBeLessThanOrEqual(1);
      }),
    );
  });
});

describe("wordTokenizer", () => {
  const words = ["<pad>", "<bos>", "a", "b", "c"];
  const tokenizer = wordTokenizer({
    size: words.length,
    pad: 0,
    bos: 1,
    encode: (text) => text.split(" ").map((w) => words.indexOf(w)),
    decode: (ids) => [...ids].map((id) => words[id]).join(" "),
  });

  it("puts one special token in front, pads, cuts and decodes", () => {
    expect(tokenizer.encode("a b", { pair: "c" })).toEqual({ ids: [1, 2, 3, 4], segments: [0, 0, 0, 1] });
    expect(plain(tokenizer.encodeBatch(["a", "a b c"], { maxLength: 3 }))).toEqual({
      tokens: [
        [1, 2, 0],
        [1, 2, 3],
      ],
      mask: [
        [1, 1, 0],
        [1, 1, 1],
      ],
      segments: [
        [0, 0, 0],
        [0, 0, 0],
      ],
    });
    expect([tokenizer.decode([1, 2, 0]), tokenizer.decode([1, 2, 0], { skipSpecialTokens: true })]).toEqual(["<bos> a <pad>", "a"]);
  });
});
