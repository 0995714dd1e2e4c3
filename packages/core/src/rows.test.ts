import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { bool, f32, type HostTensor, i32 } from "./dtype.js";
import { type PadOptions, padRows, padValues, selectRows } from "./rows.js";

const row = fc.array(fc.integer({ min: 1, max: 99 }), { maxLength: 9 });
const options: fc.Arbitrary<PadOptions> = fc.record(
  {
    side: fc.constantFrom("left", "right"),
    fill: fc.integer({ min: -100, max: 0 }),
    length: fc.integer({ min: 1, max: 12 }),
    multipleOf: fc.integer({ min: 1, max: 8 }),
  },
  { requiredKeys: [] },
);
const linesOf = ({ shape: [n, width], data }: HostTensor): number[][] =>
  Array.from({ length: n! }, (_, i) => Array.from({ length: width! }, (_, j) => Number(data[i * width! + j])));

describe("padded rows", () => {
  it("hold every row at its side, the mask on it, and the filling elsewhere", () => {
    fc.assert(
      fc.property(fc.array(row, { maxLength: 6 }), options, (rows, o) => {
        const { tokens, mask } = padRows(rows, o);
        const [lines, marks] = [linesOf(tokens), linesOf(mask)];
        expect(mask.shape).toEqual(tokens.shape);
        expect([tokens.dtype, mask.dtype]).toEqual(["i32", "f32"]);
        for (const [i, r] of rows.entries()) {
          const filled = new Array<number>(tokens.shape[1]! - r.length).fill(o.fill ?? 0);
          expect(lines[i]).toEqual(o.side === "left" ? [...filled, ...r] : [...r, ...filled]);
          expect(marks[i]).toEqual(lines[i]!.map((v) => (v > 0 ? 1 : 0)));
        }
      }),
    );
  });

  it("are as long as the longest, the least asked for, or the next multiple, and no longer", () => {
    fc.assert(
      fc.property(fc.array(row, { maxLength: 6 }), options, (rows, o) => {
        const width = padRows(rows, o).tokens.shape[1]!;
        const least = Math.max(o.length ?? 1, ...rows.map((r) => r.length));
        expect(width % (o.multipleOf ?? 1)).toBe(0);
        expect(width - least).toBeGreaterThanOrEqual(0);
        expect(width - least).toBeLessThan(o.multipleOf ?? 1);
      }),
    );
  });

  it("take what goes along with tokens in its own type", () => {
    const weights = padValues("f32", [[0.5], [0, 0.25]], { length: 3 });
    expect([...weights.data]).toEqual([0.5, 0, 0, 0, 0.25, 0]);
    expect(weights.dtype).toBe("f32");
    expect([...padValues("i32", [Int32Array.of(7), [8, 9]], { fill: -100 }).data]).toEqual([7, -100, 8, 9]);
  });

  it("refuse counts that are none", () => {
    expect(() => padRows([[1]], { length: 0 })).toThrow(/length is 0/);
    expect(() => padRows([[1]], { multipleOf: 1.5 })).toThrow(expect.objectContaining({ code: "CONFIG_INVALID" }));
  });
});

describe("selectRows", () => {
  it("takes rows as often and in the order asked for, whatever their type, also out of the middle of a buffer", () => {
    const buffer = Float32Array.of(9, 9, 1, 2, 3, 4, 5, 6);
    expect(selectRows(f32(buffer.subarray(2), [3, 1, 2]), [2, 0, 2])).toEqual(f32([5, 6, 1, 2, 5, 6], [3, 1, 2]));
    expect(selectRows(i32([7, 8, 9]), [1])).toEqual(i32([8]));
    expect(selectRows(bool([true, false]), [1, 0])).toEqual(bool([false, true]));
  });
});
