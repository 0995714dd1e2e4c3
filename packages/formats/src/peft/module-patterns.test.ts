import { isLfmError } from "@lfm/core";
import { describe, expect, it } from "vitest";
import { modulePatterns } from "./module-patterns.js";

const of = (patterns: Readonly<Record<string, number>>, path: string): number | undefined =>
  modulePatterns("rank_pattern", patterns).of(path);
const code = (f: () => unknown): string => {
  try {
    f();
  } catch (error) {
    return isLfmError(error) ? error.code : String(error);
  }
  return "nothing thrown";
};
const query = "model.layers.10.self_attn.q_proj";

describe("patterns of modules", () => {
  // What Python's re.match(rf"(.*\\.)?({key})$", path) says of each.
  it.each([
    ["q_proj", true],
    ["_proj", false],
    ["self_attn.q_proj", true],
    [String.raw`self_attn\.q_proj`, true],
    ["self.attn.q_proj", true],
    [String.raw`self\.attn\.q_proj`, false],
    ["^q_proj", false],
    [String.raw`^model\.layers\.10\.self_attn\.q_proj$`, true],
    [String.raw`layers\.1\.self_attn\.q_proj`, false],
    [String.raw`.*\.q_proj`, true],
    [String.raw`layers\.\d+\.self_attn\.(q|v)_proj`, true],
    [String.raw`layers\.(1|2)\..*`, false],
    ["[kq]_proj", true],
    ["Q_PROJ", false],
    ["(?i)Q_PROJ", true],
    ["layers", false],
  ])("%s: %s", (pattern, fits) => expect(of({ [pattern]: 7 }, query)).toBe(fits ? 7 : undefined));

  it("the first that fits counts", () => expect(of({ k_proj: 1, ".*": 2, q_proj: 3 }, query)).toBe(2));

  it("are compared in linear time, whatever the file asks for", () => {
    const start = performance.now();
    expect(of({ "(([a-z.0-9_]+)+)+X": 4 }, `${query.repeat(40)}`)).toBeUndefined();
    expect(of({ [`${"(a*)*".repeat(100)}X`]: 4 }, "a".repeat(2000))).toBeUndefined();
    expect(performance.now() - start).toBeLessThan(1000);
  });

  it("have bounds: length, repetitions, work", () => {
    expect(code(() => of({ ["a".repeat(2000)]: 1 }, "a"))).toBe("BUDGET_EXCEEDED");
    expect(code(() => of({ "((a{100}){100}){100}": 1 }, "a"))).toBe("FILE_FORMAT");
    const many = modulePatterns("rank_pattern", Object.fromEntries(Array.from({ length: 50 }, (_, i) => [`(?:a?b?){900}${i}`, i])));
    expect(code(() => Array.from({ length: 1000 }, (_, i) => many.of(`${query}${i}`)))).toBe("BUDGET_EXCEEDED");
    const usual = modulePatterns(
      "rank_pattern",
      Object.fromEntries(Array.from({ length: 1500 }, (_, i) => [`model.layers.${i}.q_proj`, i])),
    );
    expect(Array.from({ length: 1500 }, (_, i) => usual.of(`model.layers.${i}.q_proj`))).toEqual(Array.from({ length: 1500 }, (_, i) => i));
  });

  it("that look around are refused by name, broken ones too", () => {
    for (const pattern of ["(?!.*visual).*q_proj", "q_proj(?=x)", String.raw`(a)\1`])
      expect(
        code(() => of({ [pattern]: 1 }, query)),
        pattern,
      ).toBe("OP_UNSUPPORTED");
    expect(code(() => of({ "(": 1 }, query))).toBe("FILE_FORMAT");
    expect(code(() => of({ "a)|(b": 1 }, query))).toBe("FILE_FORMAT");
  });
});
