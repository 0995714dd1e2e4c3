import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { formatEdits, readEdits } from "./index.js";

const folder = process.env.LFM_DATA ?? "";

// Without the folder there is nothing to read: set LFM_DATA to run these.
describe.skipIf(folder === "")("the real sets of edits (skipped without LFM_DATA)", () => {
  it.each([
    ["counterfact/counterfact-edit-4k.json", "easyedit", 4000, 2, ["locality", "rephrase"]],
    ["zsre/zsre-500.json", "zsre", 500, 2, ["loc", "rephrase"]],
  ] as const)("%s is read without loss", (name, form, count, questions, kinds) => {
    const path = join(folder, name);
    const records = readEdits(path);
    expect(records).toHaveLength(count);
    expect(new Set(records.map((r) => r.form))).toEqual(new Set([form]));
    // Every prompt holds its subject, once.
    expect(records.filter((r) => r.prompt.split(r.subject).length !== 2 || r.subjectStart !== r.prompt.indexOf(r.subject))).toEqual([]);
    expect(records.filter((r) => r.questions.length !== questions || r.truth.length === 0 || r.target.trim() === "")).toEqual([]);
    expect([...new Set(records.flatMap((r) => r.questions.map((q) => q.kind)))].sort()).toEqual(kinds);
    const plain: unknown = JSON.parse(readFileSync(path, "utf8"));
    expect(JSON.parse(formatEdits(records, "json"))).toEqual(plain);
    expect(
      formatEdits(records, "jsonl")
        .trim()
        .split("\n")
        .map((line) => JSON.parse(line) as unknown),
    ).toEqual(plain);
  });
});
