import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { readDocuments } from "./documents.js";
import { readCranfield } from "./smart.js";
import { readTopics } from "./topics.js";

const folder = mkdtempSync(join(tmpdir(), "lfm-smart-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));
const set = join(folder, "cran");
mkdirSync(set);
const write = (name: string, text: string): void => writeFileSync(join(set, name), text);
write(
  "cran.all.1400",
  ".I 1\n.T\nflow past a\nplate .\n.A\nglauert,m.b.\n.B\nj. 1958.\n.W\nflow past a\nplate .\n  the boundary layer\nis thin .\n.I 2\n.T\nempty .\n.A\n.B\n.W\n.I 3\n.T\ntwice\n.W\nfirst\n.W\nsecond\n",
);
write("cran.qry", ".I 001\n.W\nwhat is\nflow .\n.I 004\n.W\nwhat is thin .\n");
write("cranqrel", "1 1 2 \n1 3 -1 \n2 1 1\n2 2 4\n");

describe("SMART collections", () => {
  it("have documents whose titles stand once, and queries that are numbered in their order", () => {
    const documents = [
      { id: "1", title: "flow past a plate .", text: "the boundary layer\nis thin ." },
      { id: "2", title: "empty .", text: "" },
      { id: "3", title: "twice", text: "first\nsecond" },
    ];
    expect(readDocuments(join(set, "cran.all.1400"))).toEqual(documents);
    expect(readTopics(join(set, "cran.qry"))).toEqual([
      { id: "1", text: "what is flow ." },
      { id: "2", text: "what is thin ." },
    ]);
    expect(readCranfield(set)).toEqual({
      documents,
      queries: readTopics(join(set, "cran.qry")),
      qrels: { 1: { 1: 3 }, 2: { 1: 4, 2: 1 } },
      qrelsWithUncoded: { 1: { 1: 3, 3: 1 }, 2: { 1: 4, 2: 1 } },
    });
  });

  it("name the line that is wrong", () => {
    write("broken", ".I 1\nno field\n");
    expect(() => readDocuments(join(set, "broken"))).toThrow(/broken:2: expected \.I/);
    write("cranqrel", "1 1 2\n1 1 7\n");
    expect(() => readCranfield(set)).toThrow(/cranqrel:2: expected: query document code/);
  });
});
