import { readFileSync } from "node:fs";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { type Chunker, chunkPassages } from "./chunk.js";
import { parentChild } from "./parents.js";
import { recursiveChunks } from "./recursive.js";
import { sentenceChunks, windowChunks } from "./windows.js";

const textsOf = (chunker: Chunker, text: string): string[] => chunker(text).map(({ start, end }) => text.slice(start, end));
const golden = JSON.parse(readFileSync(new URL("../../test/golden/chunks.json", import.meta.url), "utf8")) as {
  text: string;
  size: number;
  overlap: number;
  chunks: string[];
}[];

const anyText = fc
  .array(fc.constantFrom("a", "bb", "ccc. ", " ", "\n", "\n\n", "word ", "é", "😀"), { maxLength: 60 })
  .map((parts) => parts.join(""));
const sizes = fc.integer({ min: 1, max: 20 }).chain((size) => fc.tuple(fc.constant(size), fc.integer({ min: 0, max: size - 1 })));

describe("recursiveChunks", () => {
  it("are langchain's", () => {
    for (const { text, size, overlap, chunks } of golden) expect(textsOf(recursiveChunks({ size, overlap }), text)).toEqual(chunks);
  });

  it("lose nothing but white space, never hold too much, and cut no character in two", () => {
    fc.assert(
      fc.property(anyText, sizes, (text, [size, overlap]) => {
        const chunks = recursiveChunks({ size, overlap })(text);
        const covered = new Set(chunks.flatMap(({ start, end }) => Array.from({ length: end - start }, (_, i) => start + i)));
        for (let i = 0; i < text.length; i++) if (text[i]!.trim() !== "") expect(covered.has(i)).toBe(true);
        for (const { start, end } of chunks) {
          // One character of two units is not cut.
          expect(end - start).toBeLessThanOrEqual(Math.max(2, size));
          const part = text.slice(start, end);
          expect(Buffer.from(part).toString()).toBe(part);
        }
      }),
      { seed: 4 },
    );
  });
});

describe("windows and sentences", () => {
  it("by hand", () => {
    expect(textsOf(windowChunks({ size: 3, overlap: 1 }), "a b  c d\ne f")).toEqual(["a b  c", "c d\ne", "e f"]);
    expect(textsOf(windowChunks({ size: 9 }), " a b ")).toEqual(["a b"]);
    const text = "One two. Three four five. Six. Seven eight nine ten eleven. Twelve.";
    expect(textsOf(sentenceChunks({ size: 5 }), text)).toEqual([
      "One two. Three four five.",
      "Six.",
      "Seven eight nine ten eleven.",
      "Twelve.",
    ]);
    expect(textsOf(sentenceChunks({ size: 6, overlap: 1 }), text)).toEqual([
      "One two. Three four five. Six.",
      "Six. Seven eight nine ten eleven.",
      "Twelve.",
    ]);
  });

  it("lose no word, go on, and repeat no more than they may", () => {
    fc.assert(
      fc.property(anyText, sizes, (text, [size, overlap]) => {
        const words = (s: string): string[] => s.match(/\S+/g) ?? [];
        for (const chunker of [windowChunks({ size, overlap }), sentenceChunks({ size, overlap })]) {
          const chunks = chunker(text);
          const covered = new Set(chunks.flatMap(({ start, end }) => Array.from({ length: end - start }, (_, i) => start + i)));
          for (let i = 0; i < text.length; i++) if (text[i]!.trim() !== "") expect(covered.has(i)).toBe(true);
          for (const [i, chunk] of chunks.entries()) {
            const before = chunks[i - 1];
            if (!before) continue;
            expect(chunk.end).toBeGreaterThan(before.end);
            if (chunk.start < before.end) expect(words(text.slice(chunk.start, before.end)).length).toBeLessThanOrEqual(overlap);
          }
        }
      }),
      { seed: 5 },
    );
  });
});

describe("passages", () => {
  const passages = [
    { id: "a", title: "T", text: "one two three four" },
    { id: "b", text: "five" },
    { id: "c", text: "" },
  ];

  it("are cut with their titles; one that is whole keeps its id", () => {
    expect(chunkPassages(passages, windowChunks({ size: 3 }))).toEqual([
      { id: "a#1", title: "T", text: "one two three", parent: "a", start: 0, end: 13 },
      { id: "a#2", title: "T", text: "four", parent: "a", start: 14, end: 18 },
      { id: "b", text: "five", parent: "b", start: 0, end: 4 },
      { id: "c", text: "", parent: "c", start: 0, end: 0 },
    ]);
  });

  it("children are found, parents are read", () => {
    const { children, parents, toParents } = parentChild(passages, windowChunks({ size: 2 }), windowChunks({ size: 1 }));
    expect(children.map((chunk) => chunk.id)).toEqual(["a#1#1", "a#1#2", "a#2#1", "a#2#2", "b", "c"]);
    expect(parents.map((p) => p.text)).toEqual(["one two", "three four", "five", ""]);
    const hits = ["a#2#2", "b", "a#1#1", "a#2#1"].map((id, i) => ({ id, score: 9 - i }));
    expect(toParents(hits)).toEqual([
      { id: "a#2", score: 9 },
      { id: "b", score: 8 },
      { id: "a#1", score: 7 },
    ]);
  });

  it("refuses sizes without meaning", () => {
    expect(() => windowChunks({ size: 0 })).toThrow(/size of 1 or more/);
    expect(() => recursiveChunks({ size: 3, overlap: 3 })).toThrow(/overlap below it/);
  });
});
