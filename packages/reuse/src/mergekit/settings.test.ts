import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { z } from "zod";
import { evaluateSetting, readAs } from "./settings.js";

const number = (v: unknown): unknown => Number(v);
const as = (v: unknown): unknown => v;

describe("evaluateSetting", () => {
  it("interpolates numbers over the depth", () => {
    const at = (t: number): unknown => evaluateSetting("w", [0, 1, 0.5], t, number);
    expect([0, 0.25, 0.5, 0.75, 1].map(at)).toEqual([0, 0.5, 1, 0.75, 0.5]);
    expect(evaluateSetting("w", [0.3], 0.9, number)).toBe(0.3);
  });

  it("picks truth values and labels by index", () => {
    expect([0, 0.49, 0.5, 1].map((t) => evaluateSetting("w", [true, false, true], t, as))).toEqual([true, true, false, true]);
    expect([0, 0.9, 1].map((t) => evaluateSetting("w", ["a", "b"], t, as))).toEqual(["a", "a", "b"]);
  });

  it("takes the first condition that fits, by a part of the name", () => {
    const setting = [
      { filter: "q_proj", value: 1 },
      { filter: "*", value: 2 },
      { filter: "mlp", value: 3 },
    ];
    expect(["l.q_proj.w", "l.mlp.w"].map((n) => evaluateSetting(n, setting, 0, number))).toEqual([1, 2]);
    expect(evaluateSetting("l.mlp.w", [{ filter: "q_proj", value: 1 }], 0, number)).toBeUndefined();
    expect(evaluateSetting("w", [], 0, number)).toBeUndefined();
    // A condition that fits with an empty list ends the search, as in mergekit.
    expect(evaluateSetting("w", [{ value: [] }, { value: 2 }], 0, number)).toBeUndefined();
    // Plain text, no pattern.
    expect(evaluateSetting("abc", [{ filter: "a.c", value: 1 }], 0, number)).toBeUndefined();
  });

  it("stays between the smallest and the largest value", () => {
    fc.assert(
      fc.property(
        fc.array(fc.double({ min: -10, max: 10, noNaN: true }), { minLength: 1 }),
        fc.double({ min: 0, max: 1, noNaN: true }),
        (values, t) => {
          const found = evaluateSetting("w", values, t, number) as number;
          expect(found).toBeGreaterThanOrEqual(Math.min(...values) - 1e-12);
          expect(found).toBeLessThanOrEqual(Math.max(...values) + 1e-12);
        },
      ),
      { seed: 11 },
    );
  });
});

describe("readAs", () => {
  it("takes the spellings that pydantic takes", () => {
    const [n, b, i] = [z.number(), z.boolean(), z.number().int()];
    expect([readAs(n, "1e-1"), readAs(n, true), readAs(n, 2)]).toEqual([{ value: 0.1 }, { value: 1 }, { value: 2 }]);
    expect([readAs(b, "yes"), readAs(b, 0), readAs(b, "OFF")]).toEqual([{ value: true }, { value: false }, { value: false }]);
    expect(readAs(z.enum(["sum", "count"]), "sum")).toEqual({ value: "sum" });
    expect(readAs(i, 2.5)).toHaveProperty("complaint");
    expect(readAs(n, "much")).toEqual({ complaint: "expected number, received string" });
    expect(readAs(n, "")).toHaveProperty("complaint");
  });
});
