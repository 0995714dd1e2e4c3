import { describe, expect, it } from "vitest";
import { gaussian, mergeValues, norm, tuned } from "../../test/merge-values.js";
import { expectMergekit, relativeError } from "../../test/mergekit-golden.js";
import { nuslerp } from "./nuslerp.js";

const h = Math.SQRT1_2;

describe("nuslerp", () => {
  it("hand-worked: half way between right angles; per row and per column", async () => {
    const near = (got: Float32Array, wanted: readonly number[]): void => {
      for (const [i, w] of wanted.entries()) expect(got[i]).toBeCloseTo(w, 6);
    };
    near(
      await mergeValues(nuslerp, {
        models: [
          [1, 0],
          [0, 1],
        ],
      }),
      [h, h],
    );
    near(
      await mergeValues(nuslerp, {
        base: [10, 10],
        models: [
          [11, 10],
          [10, 11],
        ],
      }),
      [10 + h, 10 + h],
    );
    // A third of the way from (1, 0): 30°
    near(
      await mergeValues(nuslerp, {
        models: [
          [1, 0],
          [0, 1],
        ],
        config: { weight: [2, 1] },
      }),
      [Math.cos(Math.PI / 6), 0.5],
    );
    // Rows (1,0)→(0,1) and (2,0)→(2,0): the second is parallel and stays.
    const models = [
      [1, 0, 2, 0],
      [0, 1, 2, 0],
    ];
    near(await mergeValues(nuslerp, { models, shape: [2, 2], config: { nuslerp_flatten: false } }), [h, h, 2, 0]);
    // Columns (1,2)→(0,2) and (0,0)→(1,0)
    const columns = await mergeValues(nuslerp, { models, shape: [2, 2], config: { nuslerp_flatten: false, nuslerp_row_wise: true } });
    const angle = Math.acos(4 / (Math.sqrt(5) * 2));
    const k = Math.sin(angle / 2) / Math.sin(angle);
    near(columns, [k, h, 4 * k, 0]);
  });

  it("weights choose the model; keeps the length of vectors of one length", async () => {
    const [a, b] = [gaussian(1, 99), gaussian(2, 99)];
    expect(relativeError(await mergeValues(nuslerp, { models: [a, b], config: { weight: [1, 0] } }), a)).toBeLessThan(1e-6);
    expect(relativeError(await mergeValues(nuslerp, { models: [a, b], config: { weight: [0, 2] } }), b)).toBeLessThan(1e-6);
    const scaled = b.map((v) => (v * norm(a)) / norm(b));
    expect(norm(await mergeValues(nuslerp, { models: [a, scaled], config: { weight: [0.3, 0.7] } }))).toBeCloseTo(norm(a), 4);
  });

  it("says the same of rows in any number of chunks", async () => {
    const [rows, width] = [700, 97];
    const base = gaussian(3, rows * width);
    const models = [tuned(base, 4), tuned(base, 5)];
    const config = { nuslerp_flatten: false };
    const whole = await mergeValues(nuslerp, { base, models, shape: [rows, width], config });
    for (const row of [0, 337, 338, 699]) {
      const cut = (v: Float32Array): Float32Array => v.subarray(row * width, (row + 1) * width);
      const alone = await mergeValues(nuslerp, { base: cut(base), models: models.map(cut) });
      expect(relativeError(cut(whole), alone)).toBeLessThan(1e-6);
    }
  });

  it("equals mergekit", async () => {
    await expectMergekit(nuslerp, "nuslerp");
  });
});
