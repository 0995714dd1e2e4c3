import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { isBeirFolder, readBeir } from "./beir.js";
import { readDocuments } from "./documents.js";
import { readTopics } from "./topics.js";
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

describe("ids of TREC and BEIR files", () => {
  it("may have spaces where tabs part the fields", () => {
    writeFileSync(at("spaces.tsv"), "query-id\tcorpus-id\tscore\nq1\tAda Lovelace\t1\nq1\tPisa\t0\n");
    expect(readQrels(at("spaces.tsv"))).toEqual({ q1: { "Ada Lovelace": 1, Pisa: 0 } });
    writeFileSync(at("trec.tsv"), "q 1\t0\tAda Lovelace\t1\n");
    expect(readQrels(at("trec.tsv"))).toEqual({ "q 1": { "Ada Lovelace": 1 } });
    writeFileSync(at("run.tsv"), "q 1\tQ0\tAda Lovelace\t1\t0.5\ttag\n");
    expect([...readTrecRun(at("run.tsv"))]).toEqual([["q 1", [{ id: "Ada Lovelace", score: 0.5 }]]]);
  });

  it("may be names of what every object has", () => {
    writeFileSync(at("proto"), "__proto__ 0 constructor 1\n");
    const qrels = readQrels(at("proto"));
    expect(Object.keys(qrels)).toEqual(["__proto__"]);
    expect(Object.entries(Object.values(qrels)[0]!)).toEqual([["constructor", 1]]);
  });

  it("stand once in a run and are judged once", () => {
    writeFileSync(at("twice"), "q Q0 d 1 2 t\nq Q0 e 2 1 t\nq Q0 d 3 0.5 t\n");
    expect(() => readTrecRun(at("twice"))).toThrow(/twice:3: query "q" has the document "d" twice/);
    writeFileSync(at("judged"), "q 0 d 1\nq 0 d 1\nq 0 d 0\n");
    expect(() => readQrels(at("judged"))).toThrow(/judged:3: "d" is judged 1 and 0 for query "q"/);
  });
});

describe("topics", () => {
  it("are read in every form", () => {
    const both = [
      { id: "301", text: "International Organized Crime" },
      { id: "302", text: "Poliomyelitis" },
    ];
    writeFileSync(
      at("topics.301"),
      "<top>\n<num> Number: 301\n<title> International\nOrganized Crime\n<desc> Description:\nIdentify organizations.\n</top>\n<top><num>302</num><title>Topic: Poliomyelitis</title></top>\n",
    );
    writeFileSync(at("topics.tsv"), both.map((q) => `${q.id}\t${q.text}\n`).join(""));
    writeFileSync(at("named.tsv"), `qid\tquery\n${both.map((q) => `${q.id}\t${q.text}\n`).join("")}`);
    writeFileSync(at("topics.csv"), `id,text\n${both.map((q) => `${q.id},${q.text}\n`).join("")}`);
    writeFileSync(at("topics.jsonl"), both.map((q) => `${JSON.stringify({ _id: Number(q.id), text: q.text })}\n`).join(""));
    for (const name of ["topics.301", "topics.tsv", "named.tsv", "topics.csv", "topics.jsonl"])
      expect(readTopics(at(name)), name).toEqual(both);
    writeFileSync(at("topics.bad"), "<top><num> Number: 1\n<desc> none</top>");
    expect(() => readTopics(at("topics.bad"))).toThrow(/topic 1 has no <num> or no <title>/);
  });
});

describe("TREC documents and folders", () => {
  it("are read by their fields, entities as what they stand for", () => {
    writeFileSync(
      at("a.trec"),
      "<DOC>\n<DOCNO> FT911-1 </DOCNO>\n<HEADLINE>Cats &amp; dogs</HEADLINE>\n<TEXT>\nThe <b>cat</b> sat.\n</TEXT>\n</DOC>\n<DOC><DOCNO>2</DOCNO>\nno fields here</DOC>\n",
    );
    const docs = readDocuments(at("a.trec"));
    expect(docs.map((d) => ({ ...d, text: d.text.replace(/\s+/g, " ") }))).toEqual([
      { id: "FT911-1", title: "Cats & dogs", text: "The cat sat." },
      { id: "2", text: "no fields here" },
    ]);
    writeFileSync(at("b.trec"), "<DOC><DOCNO>1</DOCNO>x</DOC>\n<DOC>\n<TEXT>y</TEXT></DOC>");
    expect(() => readDocuments(at("b.trec"))).toThrow(/b\.trec:2: a document has no <DOCNO>/);
    writeFileSync(at("b.trec"), "<DOC><DOCNO>1</DOCNO>x");
    expect(() => readDocuments(at("b.trec"))).toThrow(/b\.trec:1: <DOC> has no <\/DOC>/);
  });

  it("of texts hold one document a file; hidden and other files are passed over", () => {
    mkdirSync(at("texts/sub/.git"), { recursive: true });
    writeFileSync(at("texts/b.md"), "# B");
    writeFileSync(at("texts/sub/a.txt"), "two\nlines");
    writeFileSync(at("texts/sub/more.csv"), "id,text\n7,row\n");
    writeFileSync(at("texts/sub/.git/c.txt"), "no");
    writeFileSync(at("texts/picture.png"), "no");
    expect(readDocuments(at("texts"))).toEqual([
      { id: "b.md", title: "B", text: "" },
      { id: "sub/a.txt", text: "two\nlines" },
      { id: "7", text: "row" },
    ]);
    mkdirSync(at("none"), { recursive: true });
    expect(() => readDocuments(at("none"))).toThrow(/holds no documents/);
    expect(() => readDocuments(at("missing.jsonl"))).toThrow(expect.objectContaining({ code: "FILE_IO" }));
  });
});

describe("BEIR folders", () => {
  it("need no judgements to be searched, take numbers as ids and titles as texts, and name the splits that are there", () => {
    mkdirSync(at("variants/qrels"), { recursive: true });
    writeFileSync(at("variants/corpus.jsonl"), '{"_id":1,"title":"Cats","text":"x"}\n{"_id":2,"title":"A dog ran","text":null}\n');
    writeFileSync(at("variants/queries.jsonl"), '{"_id":7,"text":"cat"}\n{"_id":8,"text":"dog"}\n');
    writeFileSync(at("variants/qrels/dev.tsv"), "query-id\tcorpus-id\tscore\n7\t1\t1\n");
    expect(readDocuments(at("variants"))).toEqual([
      { id: "1", title: "Cats", text: "x" },
      { id: "2", title: "A dog ran", text: "" },
    ]);
    expect(readTopics(at("variants")).map((q) => q.id)).toEqual(["7", "8"]);
    expect(readBeir(at("variants"), "dev").queries).toEqual([{ id: "7", text: "cat" }]);
    const missing = { code: "FILE_IO", hint: "it has dev" };
    expect(() => readBeir(at("variants"))).toThrow(expect.objectContaining(missing));
  });

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
