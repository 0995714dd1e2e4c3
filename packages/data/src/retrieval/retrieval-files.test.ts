import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { isBeirFolder, readBeir } from "./beir.js";
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
