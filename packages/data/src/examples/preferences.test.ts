import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { isLfmError } from "@lfm/core";
import { afterAll, describe, expect, it } from "vitest";
import { readExamples } from "./examples.js";
import { holdsPairs, readJudged, readPairs } from "./preferences.js";

const folder = mkdtempSync(join(tmpdir(), "lfm-preferences-"));
afterAll(() => rmSync(folder, { recursive: true }));
const file = (name: string, content: string): string => {
  const path = join(folder, name);
  writeFileSync(path, content);
  return path;
};
const lines = (name: string, ...rows: unknown[]): string => file(name, rows.map((r) => JSON.stringify(r)).join("\n"));
/** What a reader complains of, with its hint. */
const refused = (read: () => unknown): string => {
  try {
    read();
  } catch (error) {
    if (isLfmError(error, "FILE_FORMAT")) return `${error.message} | ${error.hint}`;
    throw error;
  }
  throw new Error("it was read");
};
const user = (content: string) => ({ role: "user", content });
const assistant = (content: string) => ({ role: "assistant", content });
const withoutPlaces = ({ rows }: { readonly rows: readonly { readonly at?: string }[] }): unknown[] => rows.map(({ at, ...row }) => row);

describe("pairs", () => {
  it("of texts, with a margin where one is given", () => {
    const path = file("a.csv", "prompt,chosen,rejected,margin\nHi.,Hello!,What?,0.5\n");
    expect(holdsPairs(path)).toBe(true);
    expect(readPairs(path)).toMatchObject({
      kind: "pairs",
      rows: [
        { chosen: { prompt: "Hi.", completion: "Hello!" }, rejected: { prompt: "Hi.", completion: "What?" }, margin: 0.5, at: `${path}:2` },
      ],
    });
  });

  it("without a prompt part where their words do", () => {
    const path = lines(
      "b.jsonl",
      { chosen: "The sky is blue.", rejected: "The sky is black." },
      { chosen: "good", rejected: "great" },
      { chosen: "It is it", rejected: "It is it" },
    );
    expect(withoutPlaces(readPairs(path))).toEqual([
      { chosen: { prompt: "The sky is", completion: " blue." }, rejected: { prompt: "The sky is", completion: " black." } },
      { chosen: { prompt: "", completion: "good" }, rejected: { prompt: "", completion: "great" } },
      { chosen: { prompt: "It is", completion: " it" }, rejected: { prompt: "It is", completion: " it" } },
    ]);
  });

  it("of conversations, with the prompt apart or as what both begin with", () => {
    const [asked, good, bad] = [[user("Hi"), assistant("Yes?"), user("More")], [assistant("Sure")], [assistant("No")]];
    const right = [{ chosen: { prompt: asked, completion: good }, rejected: { prompt: asked, completion: bad } }];
    expect(withoutPlaces(readPairs(lines("c.jsonl", { prompt: asked, chosen: good, rejected: bad })))).toEqual(right);
    expect(withoutPlaces(readPairs(lines("d.jsonl", { chosen: [...asked, ...good], rejected: [...asked, ...bad] })))).toEqual(right);
  });

  it("are refused with file, line and what to do", () => {
    const mixed = lines("e.jsonl", { prompt: "Hi", chosen: [assistant("a")], rejected: "b" });
    expect(refused(() => readPairs(mixed))).toMatch(/e\.jsonl:1: of "prompt" and "chosen" one is a text and one a list of messages/);
    const half = lines("f.jsonl", { chosen: [assistant("a")], rejected: "b" });
    expect(refused(() => readPairs(half))).toMatch(/of "chosen" and "rejected" one is a text/);
    const none = lines("g.jsonl", { prompt: "a", completion: "b" });
    expect(holdsPairs(none)).toBe(false);
    expect(refused(() => readPairs(none))).toMatch(
      /wanted are prompt \+ chosen \+ rejected \| .*--columns prompt=prompt,chosen=completion,rejected=…/,
    );
    const pairs = lines("h.jsonl", { prompt: "a", chosen: "b", rejected: "c" });
    expect(refused(() => readExamples(pairs))).toMatch(/--objective dpo/);
  });
});

describe("judged completions", () => {
  it("are wanted or not, in any of the ways that files say it", () => {
    const path = file("i.csv", "prompt,completion,label\nHi.,Hello!,true\nHi.,What?,False\nHi.,Hey,1\nHi.,Go,0\n");
    const rows = readJudged(path).rows;
    expect(rows.map((r) => r.desirable)).toEqual([true, false, true, false]);
    expect(rows[1]).toEqual({ exchange: { prompt: "Hi.", completion: "What?" }, desirable: false, at: `${path}:3` });
    expect(refused(() => readJudged(file("j.csv", "prompt,completion,label\na,b,maybe\n")))).toMatch(/j\.csv:2: "label" is "maybe"/);
  });

  it("may be conversations, and a pair is two of them", () => {
    const path = lines("k.jsonl", { prompt: [user("Hi")], completion: [assistant("Hello")], label: true });
    expect(withoutPlaces(readJudged(path))).toEqual([
      { exchange: { prompt: [user("Hi")], completion: [assistant("Hello")] }, desirable: true },
    ]);
    const pair = lines("l.jsonl", { prompt: "Hi.", chosen: "Hello!", rejected: "What?" });
    expect(withoutPlaces(readJudged(pair))).toEqual([
      { exchange: { prompt: "Hi.", completion: "Hello!" }, desirable: true },
      { exchange: { prompt: "Hi.", completion: "What?" }, desirable: false },
    ]);
  });
});
