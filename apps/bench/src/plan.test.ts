import { isLfmError } from "@lfm/core";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { z } from "zod";
import * as toy from "../test/fixtures/toy-catalog.js";
import { toySuite } from "../test/fixtures/toy-suite.js";
import { canonicalJson, contentHash } from "./content-hash.js";
import { planCells } from "./plan.js";
import { suiteSchema } from "./suite.js";

const versions = { "@lfm/core": "0.1.0", code: "abc" };
const plan = (suite = toySuite({ cells: 3 }), options = {}, v: Record<string, string> = versions) => planCells(suite, toy, v, options);
const failure = (run: () => unknown): unknown => {
  try {
    run();
  } catch (error) {
    return error;
  }
  return undefined;
};

describe("content hash", () => {
  it("does not depend on the order of keys, and tells unequal values apart", () => {
    fc.assert(
      fc.property(fc.jsonValue(), (value) => {
        const turned = JSON.parse(JSON.stringify(value), (_, v) =>
          v && typeof v === "object" && !Array.isArray(v) ? Object.fromEntries(Object.entries(v).reverse()) : v,
        );
        return contentHash(value) === contentHash(turned);
      }),
    );
    expect(contentHash({ a: 1 })).not.toBe(contentHash({ a: "1" }));
    expect(contentHash({ a: [1, 2] })).not.toBe(contentHash({ a: [2, 1] }));
    expect(contentHash({ a: Number.NaN })).not.toBe(contentHash({ a: null }));
    expect(canonicalJson({ b: undefined, a: 1 })).toBe('{"a":1}');
  });
});

describe("plan", () => {
  it("gives the same hashes again, one for each cell and seed", () => {
    const a = plan(toySuite({ cells: 3, seeds: [1, 2] }));
    const b = plan(toySuite({ cells: 3, seeds: [1, 2] }));
    expect(a.cells.map((c) => c.hash)).toEqual(b.cells.map((c) => c.hash));
    expect(new Set(a.cells.map((c) => c.hash)).size).toBe(6);
  });

  it("keeps a cell's hash when other cells come and go or a default is written out", () => {
    const [first] = plan().cells;
    expect(plan(toySuite({ cells: 1 })).cells[0]!.hash).toBe(first!.hash);
    const written = toySuite({ cells: 1 });
    written.cells[0]!.config = { kept: 0.98, ...written.cells[0]!.config };
    expect(plan(written).cells[0]!.hash).toBe(first!.hash);
  });

  it("changes the hash with option, seed, engine and version", () => {
    const base = plan().cells[0]!.hash;
    const other = toySuite({ cells: 1 });
    other.cells[0]!.config = { score: 0.9 };
    expect(plan(other).cells[0]!.hash).not.toBe(base);
    expect(plan(toySuite({ cells: 1, seeds: [7] })).cells[0]!.hash).not.toBe(base);
    expect(plan(undefined, { engine: "ort" }).cells[0]!.hash).not.toBe(base);
    expect(plan(undefined, {}, { ...versions, code: "def" }).cells[0]!.hash).not.toBe(base);
  });

  it("takes only what is asked for", () => {
    expect(plan(undefined, { only: "tuning/count/beta" }).cells.map((c) => c.variant)).toEqual(["c1"]);
    expect(plan(undefined, { limit: 2 }).cells).toHaveLength(2);
    expect(plan(undefined, { seeds: [4, 5] }).cells.map((c) => c.seed)).toEqual([4, 4, 4, 5, 5, 5]);
  });

  it("applies presets below options", () => {
    const suite = toySuite({ cells: 1 });
    suite.cells[0] = { ...suite.cells[0]!, preset: "small" };
    expect(plan(suite).cells[0]!.config.steps).toBe(2);
    suite.cells[0] = { ...suite.cells[0]!, config: { steps: 9 } };
    expect(plan(suite).cells[0]!.config.steps).toBe(9);
  });

  it("makes a line for every method that has none of its own, in the order of the catalog", () => {
    const line = { scenario: "count", paradigm: "tuning" } as const;
    const cells = [
      { ...line, method: "beta", config: { steps: 9 } },
      { ...line, method: "*", preset: "small" },
    ];
    const planned = plan({ ...toySuite({ cells: 0 }), cells }).cells;
    expect(planned.map((c) => [c.method, c.variant, c.config.steps])).toEqual([
      ["beta", undefined, 9],
      ["alpha", "small", 2],
    ]);
    const unknown = plan({ ...toySuite({ cells: 0 }), cells: [{ ...line, method: "*", preset: "large" }] }).cells;
    expect(unknown.map((c) => [c.method, c.variant, c.config.steps])).toEqual([
      ["alpha", undefined, 5],
      ["beta", undefined, 5],
    ]);
  });

  it("gives a scenario the suite's options, and tells cells of other sizes apart", () => {
    const sized = { ...toy.scenarios[0]!, options: z.strictObject({ edits: z.number().int().default(5) }) };
    const catalog = { methods: toy.methods, scenarios: [sized] };
    const planned = (options?: Record<string, Record<string, unknown>>) =>
      planCells({ ...toySuite({ cells: 1 }), ...(options ? { options } : {}) }, catalog, versions).cells[0]!;
    expect([planned().options, planned({ "tuning/count": { edits: 9 } }).options]).toEqual([{ edits: 5 }, { edits: 9 }]);
    expect(planned({ "tuning/count": { edits: 5 } }).hash).toBe(planned().hash);
    expect(planned({ "tuning/count": { edits: 9 } }).hash).not.toBe(planned().hash);
    expect(() => planned({ "tuning/count": { edtis: 9 } })).toThrow("options of tuning/count");
    expect(() => planned({ "tuning/cuont": { edits: 9 } })).toThrow("has options for tuning/cuont");
    expect(() => plan({ ...toySuite({ cells: 1 }), options: { "tuning/count": { edits: 9 } } })).toThrow("edits");
  });

  it.each([
    ["an unknown scenario", { scenario: "cuont" }, 'did you mean "count"'],
    ["an unknown method", { method: "alhpa" }, 'did you mean "alpha"'],
    ["an unknown option", { config: { stpes: 1 } }, 'did you mean "steps"'],
  ])("refuses %s before any work", (_, change, hint) => {
    const suite = toySuite({ cells: 1 });
    suite.cells[0] = { ...suite.cells[0]!, ...change };
    const error = failure(() => plan(suite));
    expect(isLfmError(error, "CONFIG_INVALID") && error.hint).toContain(hint);
  });

  it("refuses the same cell twice", () => {
    const suite = toySuite({ cells: 1 });
    suite.cells.push(suite.cells[0]!);
    expect(
      isLfmError(
        failure(() => plan(suite)),
        "CONFIG_INVALID",
      ),
    ).toBe(true);
  });

  it("refuses unknown fields of a suite", () => {
    expect(suiteSchema.safeParse({ ...toySuite({ cells: 1 }), sedes: [1] }).success).toBe(false);
  });
});
