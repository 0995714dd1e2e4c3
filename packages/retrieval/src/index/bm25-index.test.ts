import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { isLfmError } from "@lfm/core";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { wordAnalyzer } from "../text/analyzer.js";
import { buildBm25, loadBm25 } from "./bm25-index.js";
import { luceneLength } from "./lucene-score.js";

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "lfm-bm25-"));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const golden = JSON.parse(readFileSync(new URL("../../test/golden/lucene-bm25.json", import.meta.url), "utf8")) as {
  k1: number;
  b: number;
  documents: Record<string, string>;
  queries: Record<string, string>;
  run: Record<string, [string, number][]>;
};
const passages = (texts: readonly string[]): { id: string; text: string }[] => texts.map((text, i) => ({ id: `d${i}`, text }));
const words = { analyzer: wordAnalyzer(), lengths: "exact" } as const;

describe("buildBm25", () => {
  it("gives Lucene's documents and its scores to the last f32 bit", () => {
    const index = buildBm25(
      Object.entries(golden.documents).map(([id, text]) => ({ id, text })),
      { k1: golden.k1, b: golden.b },
    );
    expect(Object.keys(golden.run).length).toBeGreaterThan(20);
    for (const [id, text] of Object.entries(golden.queries)) {
      const hits = index.search(text, 20);
      const wanted = golden.run[id] ?? [];
      expect(hits.map((hit) => hit.score)).toEqual(wanted.map(([, score]) => Math.fround(score)));
      expect(hits.map((hit) => hit.id)).toEqual(wanted.map(([document]) => document));
    }
  });

  it("by hand: two documents, one word", () => {
    // N 2, df 1: idf = ln(1 + 1.5/1.5) = ln 2. |d0| 2, |d1| 1, avgdl 1.5, k1 .9, b .4:
    // norm = .9·(.6 + .4·2/1.5) = 1.02; score = ln 2 · 1/(1 + 1.02).
    const index = buildBm25(passages(["cat dog", "dog"]), words);
    expect(index.search("cat", 5)).toEqual([{ id: "d0", score: expect.closeTo(Math.log(2) / 2.02, 6) }]);
    // A word asked twice counts twice.
    expect(index.search("cat cat", 5)[0]!.score).toBeCloseTo((2 * Math.log(2)) / 2.02, 6);
  });

  it("rounds lengths as Lucene's norms do", () => {
    // Values of Lucene's SmallFloat.byte4ToInt(intToByte4(i)).
    expect([0, 23, 24, 39, 40, 41, 55, 56, 59, 60, 90, 300].map(luceneLength)).toEqual([0, 23, 24, 39, 40, 40, 54, 56, 56, 60, 88, 280]);
  });

  it("breaks ties in the order of the collection", () => {
    expect(
      buildBm25(passages(["x", "x", "y", "x"]), words)
        .search("x", 2)
        .map((hit) => hit.id),
    ).toEqual(["d0", "d1"]);
  });

  it("refuses ids that stand twice, and options out of range", () => {
    expect(() => buildBm25([...passages(["a"]), ...passages(["b"])])).toThrow(/"d0" stands twice/);
    expect(() => buildBm25([], { b: 2 })).toThrow(/b in 0..1/);
  });

  it("finds nothing in nothing", () => {
    expect(buildBm25([]).search("x", 10)).toEqual([]);
    expect(buildBm25(passages(["", "x"])).search("", 10)).toEqual([]);
    expect(buildBm25(passages(["x"])).search("x", 0)).toEqual([]);
  });
});

const text = fc.array(fc.constantFrom("a", "b", "c", "d", "e", "f"), { maxLength: 12 }).map((list) => list.join(" "));

describe("properties", () => {
  it("skipping changes nothing: search equals the definition", () => {
    fc.assert(
      fc.property(fc.array(text, { minLength: 1, maxLength: 40 }), text, fc.integer({ min: 1, max: 8 }), (texts, query, k) => {
        const index = buildBm25(passages(texts), words);
        const wanted = [...index.scoreAll(query).entries()]
          .filter(([, score]) => score > 0)
          .sort(([i, a], [j, b]) => b - a || i - j)
          .slice(0, k);
        const hits = index.search(query, k);
        // Sums run in another order: equal to a rounding, so compare scores, and ids where scores are clearly apart.
        expect(hits).toHaveLength(wanted.length);
        hits.forEach((hit, i) => {
          expect(hit.score).toBeCloseTo(wanted[i]![1], 5);
        });
      }),
      { numRuns: 300, seed: 5 },
    );
  });

  it("more of a word never scores less at equal length", () => {
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 9 }), fc.integer({ min: 0, max: 1 }), (tf, lucene) => {
        const of = (n: number): string => [...Array<string>(n).fill("x"), ...Array<string>(12 - n).fill("y")].join(" ");
        const index = buildBm25(passages([of(tf), of(tf + 1), "z z z"]), { ...words, lengths: lucene ? "lucene" : "exact" });
        const [less, more] = index.scoreAll("x");
        expect(more).toBeGreaterThan(less!);
      }),
      { numRuns: 20, seed: 5 },
    );
  });
});

describe("save and load", () => {
  it("answers the same", async () => {
    const index = buildBm25(
      Object.entries(golden.documents).map(([id, t]) => ({ id, text: t })),
      { k1: 1.2, b: 0.75 },
    );
    const path = join(folder, "index.safetensors");
    await index.save(path);
    const again = loadBm25(path);
    expect(again.options).toEqual({ k1: 1.2, b: 0.75, lengths: "lucene", analyzer: "english" });
    for (const query of Object.values(golden.queries)) expect(again.search(query, 50)).toEqual(index.search(query, 50));
  });

  it("names a file that is no index, cut short, or missing", async () => {
    const path = join(folder, "cut.safetensors");
    await buildBm25(passages(["a b", "b"])).save(path);
    const bytes = readFileSync(path);
    const codeOf = (): string => {
      try {
        loadBm25(path);
      } catch (error) {
        if (isLfmError(error) && error.message.includes("cut.safetensors")) return error.code;
        throw error;
      }
      return "loaded";
    };
    for (let length = 0; length < bytes.length; length += 7) {
      writeFileSync(path, bytes.subarray(0, length));
      expect(codeOf()).toBe("FILE_FORMAT");
    }
    writeFileSync(path, bytes.toString("latin1").replace('"bm25"', '"flat"'), "latin1");
    expect(codeOf()).toBe("FILE_FORMAT");
    rmSync(path);
    expect(codeOf()).toBe("FILE_IO");
  });
});
