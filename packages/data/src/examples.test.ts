import { mkdtempSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { isLfmError } from "@lfm/core";
import { describe, expect, it } from "vitest";
import { readExamples } from "./examples.js";

const folder = mkdtempSync(join(tmpdir(), "lfm-examples-"));
const file = (name: string, content: string): string => {
  const path = join(folder, name);
  writeFileSync(path, content);
  return path;
};
const failure = (path: string): unknown => {
  try {
    return readExamples(path);
  } catch (error) {
    return error;
  }
};

describe("readExamples", () => {
  it("reads the three kinds from the three formats, under the names other tools use", () => {
    expect(readExamples(file("a.jsonl", '{"text":"hi","label":"greet"}\n\n{"text":"bye","label":"leave"}\n'))).toEqual({
      kind: "classification",
      rows: [
        { text: "hi", label: "greet" },
        { text: "bye", label: "leave" },
      ],
    });
    expect(readExamples(file("b.csv", 'question,answer\n"who, then?",me\n'))).toEqual({
      kind: "completion",
      rows: [{ prompt: "who, then?", completion: "me" }],
    });
    expect(readExamples(file("c.tsv", 'sentence\tlabel\nsaid "no\t1\n'))).toEqual({
      kind: "classification",
      rows: [{ text: 'said "no', label: "1" }],
    });
    expect(readExamples(file("d.jsonl", '{"text":"alone"}'))).toEqual({ kind: "text", rows: [{ text: "alone" }] });
  });

  it("names the file and the line that is wrong", () => {
    const broken = failure(file("e.jsonl", '{"text":"a"}\n{nope\n'));
    expect(isLfmError(broken, "FILE_FORMAT") && broken.message).toContain("e.jsonl:2");
    const missing = failure(file("f.jsonl", '{"text":"a","label":"x"}\n{"text":"b"}\n'));
    expect(isLfmError(missing, "FILE_FORMAT") && missing.message).toContain('example 2 has no "label"');
    expect(isLfmError(failure(join(folder, "none.csv")), "FILE_IO")).toBe(true);
    expect(isLfmError(failure(file("g.csv", "a,b\n1,2\n")), "FILE_FORMAT")).toBe(true);
    expect(isLfmError(failure(file("h.parquet", "x")), "FILE_FORMAT")).toBe(true);
  });
});
