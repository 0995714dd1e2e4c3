import { describe, expect, it } from "vitest";
import { parseRecords } from "./records.js";

const placed = (path: string, text: string): unknown[] => parseRecords(path, text).records.map((r) => [r.at, Object.values(r.fields)]);

describe("records of files", () => {
  it("tell the line where each begins, through quoted line ends and empty lines", () => {
    expect(placed("a.csv", 'a,b\n"x\ny",1\n\n\nz,2\n')).toEqual([
      ["a.csv:2", ["x\ny", "1"]],
      ["a.csv:6", ["z", "2"]],
    ]);
    expect(placed("a.csv", 'a,b\r\n"p\r\nq",3\r\nr,4')).toEqual([
      ["a.csv:2", ["p\r\nq", "3"]],
      ["a.csv:4", ["r", "4"]],
    ]);
  });

  it("have the columns of all records, and keys of any name", () => {
    const { columns, records } = parseRecords("a.jsonl", '{"a":1}\n{"__proto__":2,"b":3}\n');
    expect(columns).toEqual(["a", "__proto__", "b"]);
    expect(Object.entries(records[1]!.fields)).toEqual([
      ["__proto__", 2],
      ["b", 3],
    ]);
    expect(Object.entries(parseRecords("a.csv", "__proto__,b\n1,2\n").records[0]!.fields)).toEqual([
      ["__proto__", "1"],
      ["b", "2"],
    ]);
  });

  it("refuse rows that are longer or shorter than the header", () => {
    expect(() => parseRecords("a.csv", "a,b\n1\n")).toThrow(/a\.csv: .*line 2/);
    expect(() => parseRecords("a.jsonl", "[1]\n")).toThrow(/a\.jsonl:1: not a JSON object/);
    expect(() => parseRecords("a.json", '{"a":1}\n[2]')).toThrow(/a\.json:2: not a JSON object/);
    expect(() => parseRecords("a.json", "[{}, 3]")).toThrow(/a\.json, example 2: not a JSON object/);
  });
});
