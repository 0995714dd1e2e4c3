import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { isLfmError, type LfmError } from "@lfm/core";
import { afterAll, describe, expect, it } from "vitest";
import { missingColumns, readExamples, readUnanswered } from "./examples.js";

const folder = mkdtempSync(join(tmpdir(), "lfm-examples-"));
afterAll(() => rmSync(folder, { recursive: true }));
const file = (name: string, content: string | Uint8Array): string => {
  const path = join(folder, name);
  writeFileSync(path, content);
  return path;
};
const lines = (name: string, ...rows: unknown[]): string => file(name, rows.map((r) => JSON.stringify(r)).join("\n"));
const failure = (read: () => unknown): LfmError => {
  try {
    read();
  } catch (error) {
    if (isLfmError(error)) return error;
    throw error;
  }
  throw new Error("it was read");
};
const refused = (path: string, ...more: [Parameters<typeof readExamples>[1]?]): LfmError => failure(() => readExamples(path, ...more));
/** Rows without their places. */
const rowsOf = ({ rows }: { readonly rows: readonly { readonly at?: string }[] }): unknown[] => rows.map(({ at, ...row }) => row);

describe("readExamples", () => {
  it("reads the kinds from the formats, under the names other tools use", () => {
    const classes = readExamples(file("a.jsonl", '{"text":"hi","label":"greet"}\n\n{"text":"bye","label":"leave"}\n'));
    expect(classes).toMatchObject({
      kind: "classification",
      rows: [
        { text: "hi", label: "greet", at: join(folder, "a.jsonl:1") },
        { text: "bye", label: "leave", at: join(folder, "a.jsonl:3") },
      ],
      source: { columns: ["text", "label"], read: { text: "text", label: "label" } },
    });
    const asked = readExamples(file("b.csv", 'question,answer\n"who, then?",me\n'));
    expect([asked.kind, rowsOf(asked)]).toEqual(["completion", [{ prompt: "who, then?", completion: "me" }]]);
    const quoted = readExamples(file("c.tsv", 'Sentence\tLabel\nsaid "no\t1\n'));
    expect([quoted.kind, rowsOf(quoted)]).toEqual(["classification", [{ text: 'said "no', label: "1" }]]);
    expect(readExamples(file("d.jsonl", '{"text":"alone"}'))).toMatchObject({ kind: "text", rows: [{ text: "alone" }] });
    expect(rowsOf(readExamples(file("d.json", '[{"text":"a","labels":0},\n{"text":"b","labels":1}]')))).toEqual([
      { text: "a", label: "0" },
      { text: "b", label: "1" },
    ]);
    expect(rowsOf(readExamples(file("d.txt", "one\n\ntwo\r\n")))).toEqual([{ text: "one" }, { text: "two" }]);
  });

  it("reads instructions with what they are about", () => {
    const path = lines(
      "alpaca.jsonl",
      { instruction: "Add.", input: "1 2", output: "3" },
      { instruction: "Sing.", input: "", output: "La" },
    );
    expect(rowsOf(readExamples(path))).toEqual([
      { prompt: "Add.\n\n1 2", completion: "3" },
      { prompt: "Sing.", completion: "La" },
    ]);
  });

  it("reads files with a byte-order mark and other line ends", () => {
    for (const [name, content] of [
      ["bom.jsonl", '{"text":"a","label":1}\r\n{"text":"b","label":2}\r\n'],
      ["bom.csv", "text,label\r\na,1\r\nb,2\r\n"],
      ["bom.tsv", "text\tlabel\r\na\t1\r\nb\t2\r\n"],
    ] as const)
      expect(rowsOf(readExamples(file(name, `\uFEFF${content}`))), name).toEqual([
        { text: "a", label: "1" },
        { text: "b", label: "2" },
      ]);
  });

  it("takes labels of other types, and refuses rows that have none", () => {
    const labels = (...given: unknown[]): unknown[] =>
      rowsOf(readExamples(lines("l.jsonl", ...given.map((label) => ({ text: "t", label }))))).map((r) => (r as { label: string }).label);
    expect(labels(true, false)).toEqual(["true", "false"]);
    expect(labels(1, 2.5, "x")).toEqual(["1", "2.5", "x"]);
    const wrong = (...rows: unknown[]): string => refused(lines("w.jsonl", ...rows)).message;
    expect(wrong({ text: "a" }, { text: "b", label: "x" })).toContain('w.jsonl:1: no "label"');
    expect(wrong({ text: "a", label: "x" }, { text: "b" })).toContain('w.jsonl:2: no "label"');
    expect(wrong({ text: "a", label: null }, { text: "b", label: "x" })).toContain('w.jsonl:1: "label" is null');
    expect(wrong({ text: "a", label: ["x"] })).toContain('w.jsonl:1: "label" is a list');
    expect(wrong({ text: "a", label: {} })).toContain('"label" is an object');
    expect(refused(file("w.csv", 'text,label\n"a\nb",x\nc,\n')).message).toContain('w.csv:4: no "label"');
  });

  it("reads pairs of texts, by classes or by values", () => {
    const glue = "index\tsentence1\tsentence2\tlabel\n0\tIt rains.\tIt is wet.\tentailment\n";
    expect(rowsOf(readExamples(file("rte.tsv", glue)))).toEqual([{ text: "It rains.", text2: "It is wet.", label: "entailment" }]);
    const sick = file("SICK.txt", "pair_ID\tsentence_A\tsentence_B\trelatedness_score\tentailment_judgment\n1\ta\tb\t4.5\tNEUTRAL\n");
    expect(rowsOf(readExamples(sick))).toEqual([{ text: "a", text2: "b", label: "NEUTRAL" }]);
    const valued = readExamples(sick, { values: true });
    expect([valued.kind, rowsOf(valued)]).toEqual(["regression", [{ text: "a", text2: "b", value: 4.5 }]]);
    expect(refused(file("v.csv", "text,score\na,high\n"), { values: true }).message).toContain('v.csv:2: "score" is "high"');
  });

  it("takes columns as they are told, by number where there is no header line", () => {
    const stsb = file("sts.csv", "cap\tMSR\t5.000\tA man, dancing.\tA man dances.\ncap\tMSR\t2.4\tx\ty\n");
    expect(rowsOf(readExamples(stsb, { columns: { text: "4", text2: "5", label: "3" }, values: true }))).toEqual([
      { text: "A man, dancing.", text2: "A man dances.", value: 5 },
      { text: "x", text2: "y", value: 2.4 },
    ]);
    const named = lines("named.jsonl", { text: "no", review: "good", stars: 5 });
    expect(rowsOf(readExamples(named, { columns: { text: "review", label: "stars" } }))).toEqual([{ text: "good", label: "5" }]);
    expect(refused(named, { columns: { text: "revue" } }).message).toContain('has the columns text, review, stars; "revue" is missing');
    expect(rowsOf(readExamples(file("semi.csv", "text;label\na, b;x\n")))).toEqual([{ text: "a, b", label: "x" }]);
  });

  it("reads conversations, and names the message that is none", () => {
    const talk = [
      { role: "user", content: "Hi" },
      { role: "assistant", content: "Hello" },
    ];
    expect(readExamples(lines("m.jsonl", { messages: talk }))).toMatchObject({ kind: "messages", rows: [{ messages: talk }] });
    const wrong = (messages: unknown): LfmError => refused(lines("m.jsonl", { messages }));
    expect(wrong([{ role: "user", content: 1 }]).message).toContain('m.jsonl:1: message 1 of "messages" has no text under content');
    expect(wrong([]).message).toContain("no list of messages");
    expect(wrong("Hi").hint).toContain('"role"');
  });

  it("names the file, the line and the columns that are there", () => {
    expect(refused(file("e.jsonl", '{"text":"a"}\n{nope\n')).message).toContain("e.jsonl:2");
    expect(refused(join(folder, "none.csv")).code).toBe("FILE_IO");
    const other = refused(file("g.csv", "a,b\n1,2\n"));
    expect([other.code, other.message, other.hint]).toEqual([
      "FILE_FORMAT",
      expect.stringContaining("g.csv has the columns a, b"),
      expect.stringContaining("--columns text=a,label=b"),
    ]);
    expect(refused(file("h.parquet", "x")).hint).toContain(".jsonl");
    expect(refused(file("i.csv", "text,text\na,b\n")).message).toContain('two columns are called "text"');
    expect(refused(file("j.jsonl", "")).message).toContain("holds no example");
    expect(missingColumns(readExamples(file("k.csv", "text,y\na,1\n")), ["text", "label"])).toMatch(
      /has the columns text, y; label is missing$/,
    );
  });

  it("refuses text in another encoding with the line that converts it", () => {
    const latin = refused(file("latin.csv", Buffer.from("text,label\ngut,a\nschön,b\n", "latin1")));
    expect([latin.code, latin.message]).toEqual(["FILE_FORMAT", expect.stringContaining("latin.csv:3: holds bytes that are no UTF-8")]);
    expect(latin.hint).toBe(`iconv -f WINDOWS-1252 -t UTF-8 ${join(folder, "latin.csv")} > ${join(folder, "latin.utf8.csv")}`);
    const wide = refused(file("wide.jsonl", Buffer.from('\uFEFF{"text":"a"}', "utf16le")));
    expect(wide.hint).toContain("iconv -f UTF-16 ");
  });
});

describe("readUnanswered", () => {
  it("reads what is asked; answers and their absence do not matter", () => {
    const half = lines("half.jsonl", { text: "a" }, { text: "b", label: "x" });
    expect(rowsOf(readUnanswered(half))).toEqual([{ text: "a" }, { text: "b" }]);
    const pairs = readUnanswered(file("pairs.tsv", "premise\thypothesis\na\tb\n"));
    expect([pairs.kind, rowsOf(pairs)]).toEqual(["text", [{ text: "a", text2: "b" }]]);
    const prompts = readUnanswered(file("prompts.csv", "question\nwho?\n"));
    expect([prompts.kind, rowsOf(prompts)]).toEqual(["prompt", [{ prompt: "who?" }]]);
    expect(failure(() => readUnanswered(file("none.csv", "a\n1\n"))).message).toContain("wanted are text, prompt or messages");
  });
});

it("reads prompts and completions that are messages as conversations whose prompt is only asked, as TRL has them", () => {
  const [asked, answer] = [
    { role: "user", content: "Hi" },
    { role: "assistant", content: "Hello" },
  ];
  const path = lines("talk.jsonl", { prompt: [asked], completion: [answer] });
  expect(readExamples(path)).toMatchObject({ kind: "messages", rows: [{ messages: [asked, answer], asked: 1, at: `${path}:1` }] });
  expect(readUnanswered(path)).toMatchObject({ kind: "messages", rows: [{ messages: [asked] }] });
  const mixed = lines("mixed.jsonl", { prompt: [asked], completion: [answer] }, { prompt: "Hi", completion: "Hello" });
  expect(refused(mixed).message).toContain('mixed.jsonl:2: "prompt" is no list of messages');
});
