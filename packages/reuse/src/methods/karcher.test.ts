import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { gaussian, mergeValues, norm, tuned } from "../../test/merge-values.js";
import { expectMergekit, relativeError } from "../../test/mergekit-golden.js";
import { karcher } from "./karcher.js";

const dot = (a: ArrayLike<number>, b: ArrayLike<number>): number => Array.from(a).reduce((s, v, i) => s + v * b[i]!, 0);

describe("karcher", () => {
  it("hand-worked: the middle of an octant, at the mean length; zero vectors shorten only", async () => {
    const out = await mergeValues(karcher, {
      models: [
        [1, 0, 0],
        [0, 2, 0],
        [0, 0, 3],
      ],
    });
    for (const v of out) expect(v).toBeCloseTo(2 / Math.sqrt(3), 6);
    expect(
      Array.from(
        await mergeValues(karcher, {
          models: [
            [4, 0],
            [0, 0],
          ],
        }),
      ),
    ).toEqual([2, 0]);
    expect(
      Array.from(
        await mergeValues(karcher, {
          models: [
            [0, 0],
            [0, 0],
          ],
        }),
      ),
    ).toEqual([0, 0]);
  });

  it("one model gives itself, of two models the middle of the arc", async () => {
    const one = gaussian(1, 40);
    expect(await mergeValues(karcher, { models: [one] })).toEqual(one);
    const out = await mergeValues(karcher, {
      models: [
        [1, 0],
        [Math.cos(2), Math.sin(2)],
      ],
    });
    expect(out[0]).toBeCloseTo(Math.cos(1), 6);
    expect(out[1]).toBeCloseTo(Math.sin(1), 6);
  });

  it("is where the pull of all directions is zero; the order does not matter", async () => {
    await fc.assert(
      fc.asyncProperty(fc.nat(1000), async (seed) => {
        const centre = gaussian(seed, 20);
        const models = [1, 2, 3, 4].map((i) => tuned(centre, seed + i, 0.5));
        const config = { max_iter: 100, tol: 1e-9 };
        const out = await mergeValues(karcher, { models, config });
        expect(norm(out)).toBeCloseTo(
          models.reduce((s, m) => s + norm(m) / 4, 0),
          4,
        );
        const u = Array.from(out, (v) => v / norm(out));
        const pull = u.map(() => 0);
        for (const m of models) {
          const x = Array.from(m, (v) => v / norm(m));
          const cos = dot(u, x);
          const f = Math.acos(cos) / Math.sqrt(1 - cos * cos);
          for (const [j, v] of x.entries()) pull[j] = pull[j]! + (f * (v - cos * u[j]!)) / 4;
        }
        expect(norm(pull)).toBeLessThan(1e-6);
        expect(relativeError(await mergeValues(karcher, { models: models.toReversed(), config }), out)).toBeLessThan(1e-6);
      }),
      { numRuns: 10 },
    );
  });

  it("equals mergekit", async () => {
    await expectMergekit(karcher, "karcher");
  });
});
