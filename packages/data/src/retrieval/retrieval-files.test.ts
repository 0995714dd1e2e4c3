import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { isBeirFolder, readBeir } from "./beir.js";
import { readDocuments } from "./documents.js";
import { readQrels, readTrecRun, writeQrels, writeTrecRun } from "./trec.js";
import type { Run } from "./types.js";

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "lfm-trec-"));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));
const at = (name: string): string => join(folder, name);

describe("TREC files", () => {
  it("a run survives writing and reading bit for bit", () => {
    const run: Run = new Map([
      [
        "10",
        [
          { id: "b", score: 1 / 3 },
          { id: "a", score: 1 / 3 },
          { id: "c", score: -2e-9 },
        ],
      ],
      ["2", [{ id: "a", score: 7 }]],
    ]);
    writeTrecRun(at("run"), run);
    expect([...readTrecRun(at("run"))]).toEqual([...run]);
  });

  it("judgements survive, in both forms", () => {
    const qrels = { q1: { d1: 1, d2: 0 }, q2: { d1: -1 } };
    writeQrels(at("qrels"), qrels);
    expect(readQrels(at("qrels"))).toEqual(qrels);
    writeFileSync(at("qrels.tsv"), "query-id\tcorpus-id\tscore\nq1\td1\t1\r\n");
    expect(readQrels(at("qrels.tsv"))).toEqual({ q1: { d1: 1 } });
  });

  it("names file and line", () => {
    writeFileSync(at("bad"), "q Q0 d 1 0.5 tag\nq Q0 d one x tag\n");
    expect(() => readTrecRun(at("bad"))).toThrow(/bad:2: expected/);
    writeFileSync(at("bad"), "q 0 d 1.5\n");
    expect(() => readQrels(at("bad"))).toThrow(/bad:1: expected/);
    expect(() => readQrels(at("none"))).toThrow(expect.objectContaining({ code: "FILE_IO" }));
    expect(() => writeTrecRun(at("x"), new Map([["a b", [{ id: "d", score: 1 }]]]))).toThrow(/white space/);
  });
});

describe("BEIR folders", () => {
  it("reads documents, and the queries that are judged in the split", () => {
    mkdirSync(at("set/qrels"), { recursive: true });
    writeFileSync(at("set/corpus.jsonl"), '{"_id":"d1","title":"T","text":"x","metadata":{}}\n{"_id":"d2","text":"y"}\n');
    writeFileSync(at("set/queries.jsonl"), '{"_id":"q1","text":"?"}\n{"_id":"q2","text":"!"}\n');
    writeFileSync(at("set/qrels/test.tsv"), "query-id\tcorpus-id\tscore\nq2\td1\t1\n");
    expect(isBeirFolder(at("set"))).toBe(true);
    expect(isBeirFolder(folder)).toBe(false);
    expect(readBeir(at("set"))).toEqual({
      documents: [
        { id: "d1", title: "T", text: "x" },
        { id: "d2", text: "y" },
      ],
      queries: [{ id: "q2", text: "!" }],
      qrels: { q2: { d1: 1 } },
    });
    writeFileSync(at("set/corpus.jsonl"), '{"_id":"d1","text":"x"}\n{"_id":7}\n');
    expect(() => readBeir(at("set"))).toThrow(/corpus\.jsonl:2/);
  });
});

describe("documents of files", () => {
  const all = [
    { id: "d-17", title: "Cats", text: "Felines sit." },
    { id: "d-3", text: "A dog, which ran." },
  ];

  it("keep their ids and titles in every format, with a byte-order mark or without", () => {
    writeFileSync(at("a.csv"), '\uFEFFid,title,text\r\nd-17,Cats,Felines sit.\r\nd-3,,"A dog, which ran."\r\n');
    writeFileSync(at("a.tsv"), "_id\ttitle\ttext\nd-17\tCats\tFelines sit.\nd-3\t\tA dog, which ran.\n");
    writeFileSync(at("a.jsonl"), `\uFEFF${all.map((d) => JSON.stringify(d)).join("\n")}`);
    writeFileSync(at("a.json"), JSON.stringify(all));
    for (const name of ["a.csv", "a.tsv", "a.jsonl", "a.json"]) expect(readDocuments(at(name)), name).toEqual(all);
  });

  it("are counted where they have no ids; numbers are ids", () => {
    writeFileSync(at("b.csv"), "text\na\nb\n");
    expect(readDocuments(at("b.csv"))).toEqual([
      { id: "1", text: "a" },
      { id: "2", text: "b" },
    ]);
    writeFileSync(at("b.jsonl"), '{"_id":7,"contents":"a"}');
    expect(readDocuments(at("b.jsonl"))).toEqual([{ id: "7", text: "a" }]);
  });

  it("name the row without id or text, and the columns of a file without any", () => {
    writeFileSync(at("c.jsonl"), '{"id":"1","text":"a"}\n{"text":"b"}');
    expect(() => readDocuments(at("c.jsonl"))).toThrow(/c\.jsonl:2: no "id"/);
    writeFileSync(at("c.jsonl"), '{"id":"1","text":"a"}\n{"id":"2","text":null}');
    expect(() => readDocuments(at("c.jsonl"))).toThrow(/c\.jsonl:2: no "text"/);
    writeFileSync(at("c.csv"), "id,words\n1,a\n");
    expect(() => readDocuments(at("c.csv"))).toThrow(/the columns are id, words; text is missing/);
  });
});
