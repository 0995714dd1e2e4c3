import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { type Dim, dimAdd, dimDiv, dimEqual, dimEval, dimMul, dimRename, dimSub, isBareSymbol, shapeSize, sym } from "./dims.js";
import { isLfmError } from "./errors.js";

const env = { a: 3, b: 5, c: 7 };
/** Polynomials that never evaluate below zero. */
const dim: fc.Arbitrary<Dim> = fc.letrec<{ dim: Dim }>((tie) => ({
  dim: fc.oneof(
    { maxDepth: 4 },
    fc.integer({ min: 0, max: 9 }),
    fc.constantFrom("a", "b", "c").map(sym),
    fc.tuple(tie("dim"), tie("dim")).map(([x, y]) => dimAdd(x, y)),
    fc.tuple(tie("dim"), tie("dim")).map(([x, y]) => dimMul(x, y)),
  ),
})).dim;
const codeOf = (f: () => unknown): unknown => {
  try {
    return f();
  } catch (error) {
    return isLfmError(error) ? error.code : error;
  }
};

describe("dimensions", () => {
  it("compute as their values do", () => {
    fc.assert(
      fc.property(dim, dim, (x, y) => {
        const [vx, vy] = [dimEval(x, env), dimEval(y, env)];
        expect(dimEval(dimAdd(x, y), env)).toBe(vx + vy);
        expect(dimEval(dimMul(x, y), env)).toBe(vx * vy);
        expect(dimEval(dimAdd(dimSub(x, y), y), env)).toBe(vx);
      }),
    );
  });

  it("take other names for their symbols, also such as change the order", () => {
    const other: Record<string, string> = { a: "z", b: "a", c: "m" };
    fc.assert(
      fc.property(dim, dim, (x, y) => {
        const renamed = (d: Dim): Dim => dimRename(d, (s) => other[s]!);
        expect(dimEval(renamed(x), { z: 3, a: 5, m: 7 })).toBe(dimEval(x, env));
        expect(dimEqual(renamed(dimMul(x, y)), dimMul(renamed(x), renamed(y)))).toBe(true);
      }),
    );
  });

  it("have one form: equal polynomials are equal dimensions, whatever the way to them", () => {
    fc.assert(
      fc.property(dim, dim, dim, (x, y, z) => {
        expect(dimEqual(dimAdd(x, y), dimAdd(y, x))).toBe(true);
        expect(dimEqual(dimMul(x, y), dimMul(y, x))).toBe(true);
        const [left, right] = [dimMul(x, dimAdd(y, z)), dimAdd(dimMul(x, y), dimMul(x, z))];
        expect(dimEqual(left, right)).toBe(true);
        expect(String(left)).toBe(String(right));
        expect(dimEqual(dimSub(x, x), 0)).toBe(true);
      }),
    );
  });

  it("divide exactly by a term, or say that they do not", () => {
    fc.assert(
      fc.property(dim, fc.constantFrom<Dim>(2, sym("a"), dimMul(3, sym("b"))), (x, t) => {
        expect(dimEqual(dimDiv(dimMul(x, t), t), x)).toBe(true);
      }),
    );
    expect(codeOf(() => dimDiv(sym("a"), 2))).toBe("SHAPE_MISMATCH");
    expect(codeOf(() => dimDiv(7, sym("a")))).toBe("SHAPE_MISMATCH");
    expect(codeOf(() => dimDiv(7, 0))).toBe("SHAPE_MISMATCH");
  });

  it("print, multiply to sizes, and are bound only as bare symbols", () => {
    expect(String(dimAdd(dimMul(2, sym("seq")), 1))).toBe("(1+2*seq)");
    expect(String(shapeSize([sym("batch"), 4, sym("seq")]))).toBe("4*batch*seq");
    expect([sym("a"), dimMul(sym("a"), 2), dimMul(sym("a"), sym("b")), 3].map(isBareSymbol)).toEqual([true, false, false, false]);
  });

  it("refuse unbound symbols, negative values and bad names", () => {
    expect(codeOf(() => dimEval(sym("d"), env))).toBe("SHAPE_MISMATCH");
    expect(codeOf(() => dimEval(dimSub(sym("a"), 4), env))).toBe("SHAPE_MISMATCH");
    expect(codeOf(() => sym("two words"))).toBe("SHAPE_MISMATCH");
  });
});
