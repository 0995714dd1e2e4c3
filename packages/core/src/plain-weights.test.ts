import { describe, expect, it } from "vitest";
import { makeDelta } from "./delta.js";
import { f32 } from "./dtype.js";
import { referenceEngine } from "./engines/reference.js";
import type { Hook } from "./hooks.js";
import type { Model } from "./model.js";
import { mul } from "./ops/index.js";
import { plainWeights } from "./plain-weights.js";
import type { Site } from "./site.js";

/** Two layers of one weight (1, 2, 3, 4). */
const shared: Model = {
  info: {
    architecture: "tied",
    task: "regressor",
    input: "features",
    config: {},
    hiddenSize: 2,
    layers: 2,
    params: { w: { shape: [2, 2], dtype: "f32", trainable: true } },
    sites: ["first", "second"].map((path): Site => ({ path, kind: "linear", weight: { name: "w", layout: "out-in", in: 2, out: 2 } })),
  },
  params: { w: f32([1, 2, 3, 4], [2, 2]) },
  forward: () => ({}),
};

async function changed(...hooks: readonly Hook[]): Promise<Readonly<Record<string, readonly number[]>>> {
  const delta = makeDelta({ id: "test", paradigm: "tuning", delta: { hooks: () => [], weights: () => hooks } }, {}, {});
  const found = await plainWeights(referenceEngine(), shared, [delta]);
  return Object.fromEntries(Object.entries(found).map(([name, t]) => [name, Array.from(t.data, Number)]));
}
const at = (path: string, by: number): Hook => ({ matches: (site) => site.path === path, weight: (w) => mul(w, by) });

describe("a weight that two layers share", () => {
  it("is changed once where what is done to it at both is the same, by one hook or by one for each", async () => {
    expect(await changed({ matches: () => true, weight: (w) => mul(w, 2) })).toEqual({ w: [2, 4, 6, 8] });
    expect(await changed(at("first", 2), at("second", 2))).toEqual({ w: [2, 4, 6, 8] });
    expect(await changed()).toEqual({});
  });

  it("is refused where it would be two, by one hook that tells the layers apart too", async () => {
    const two = { code: "CAPABILITY_MISSING", message: expect.stringContaining('share the weight "w"') as string };
    await expect(changed({ matches: () => true, weight: (w, site) => mul(w, site.path === "first" ? 2 : 3) })).rejects.toMatchObject(two);
    await expect(changed(at("first", 2))).rejects.toMatchObject(two);
    await expect(changed(at("second", 2))).rejects.toMatchObject(two);
  });
});
