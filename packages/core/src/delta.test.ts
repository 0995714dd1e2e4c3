import { describe, expect, it } from "vitest";
import { compile } from "./compile.js";
import { changedBy, type Delta, deltaBytes, deltaSize, makeDelta, withDeltas } from "./delta.js";
import { f32, type HostTensor } from "./dtype.js";
import { referenceEngine } from "./engines/reference.js";
import { isLfmError } from "./errors.js";
import { hookInput, hookOutput, hookWeight } from "./hooks.js";
import type { Model, ParamTree } from "./model.js";
import { add, linear, mul } from "./ops/index.js";
import { plainWeights } from "./plain-weights.js";
import type { Site } from "./site.js";

const site: Site = { path: "fc", kind: "linear", weight: { name: "w", layout: "out-in", in: 2, out: 2 } };
const model: Model = {
  info: {
    architecture: "one-layer",
    task: "regressor",
    input: "features",
    config: {},
    hiddenSize: 2,
    layers: 1,
    params: { w: { shape: [2, 2], dtype: "f32", trainable: true } },
    sites: [site],
  },
  params: { w: f32([1, 2, 3, 4], [2, 2]) },
  forward: (p, input, context) => {
    const x = hookInput(input.features!, site, context);
    return { logits: hookOutput(linear(x, hookWeight(p.w!, site, context), undefined), x, site, context) };
  },
};
const delta = (tensors: Record<string, HostTensor>, hooks: Delta["hooks"]): Delta =>
  makeDelta({ id: "test", paradigm: "tuning", delta: { hooks: (_config, traced) => hooks(traced) } }, {}, tensors);
const plus = (by: number): Delta =>
  delta({ shift: f32([by, by]) }, (t) => [{ matches: (s) => s.path === "fc", output: (y) => add(y, t.shift!) }]);
const times = (by: number): Delta =>
  delta({ scale: f32([by], []) }, (t) => [{ matches: (s) => s.path === "fc", output: (y) => mul(y, t.scale!) }]);
const replaced = delta({ w: f32([0, 1, 1, 0], [2, 2]) }, () => []);

/** Answers on (1, 10); the model itself: (21, 43). */
async function answers(m: Model): Promise<number[]> {
  const f = await compile(
    referenceEngine(),
    { x: { dtype: "f32", shape: [1, 2] } },
    ({ x }, params: ParamTree) => ({ y: m.forward(params, { features: x }, { mode: "eval" }).logits! }),
    { frozen: m.params },
  );
  const { y } = await f({ x: f32([1, 10], [1, 2]) });
  await f.dispose();
  return Array.from(y.data, Number);
}

describe("withDeltas", () => {
  it("stacks in the declared order, in one call or one on the other", async () => {
    expect(await answers(withDeltas(model, [plus(1), times(2)]))).toEqual([44, 88]);
    expect(await answers(withDeltas(model, [times(2), plus(1)]))).toEqual([43, 87]);
    expect(await answers(withDeltas(withDeltas(model, [plus(1)]), [plus(10), times(2)]))).toEqual([64, 108]);
    expect(await answers(withDeltas(withDeltas(withDeltas(model, [plus(1)]), [plus(2)]), [plus(4)]))).toEqual([28, 50]);
  });

  it("replaces parameters of the base by name; the last delta wins", async () => {
    expect(await answers(withDeltas(model, [replaced]))).toEqual([10, 1]);
    const other = delta({ w: f32([1, 0, 0, 1], [2, 2]) }, () => []);
    expect(await answers(withDeltas(model, [replaced, other]))).toEqual([1, 10]);
  });

  it("gives back the base bit for bit, because it never touches it", async () => {
    const before = await answers(model);
    const copy = (model.params.w as HostTensor).data.slice();
    const changed = withDeltas(model, [replaced, plus(3)]);
    await answers(changed);
    expect((model.params.w as HostTensor).data).toEqual(copy);
    expect(Object.keys(model.params)).toEqual(["w"]);
    expect(await answers(model)).toEqual(before);
    expect(withDeltas(model, [])).toBe(model);
  });

  it("refuses a replacement of another shape", () => {
    const wrong = delta({ w: f32([1, 2], [1, 2]) }, () => []);
    expect(() => withDeltas(model, [wrong])).toThrow(/"w" is \[1,2\], the model has \[2,2\]/);
    try {
      withDeltas(model, [wrong]);
    } catch (error) {
      expect(isLfmError(error, "SHAPE_MISMATCH")).toBe(true);
    }
  });

  it("takes tensors of any name for the delta's own, unless the base has a parameter of it", async () => {
    const names = ["constructor", "toString", "hasOwnProperty"];
    const odd = delta(Object.fromEntries(names.map((name) => [name, f32([1, 1])])), (t) => [
      { matches: (s) => s.path === "fc", output: (y) => names.reduce((sum, name) => add(sum, t[name]!), y) },
    ]);
    expect(await answers(withDeltas(model, [odd]))).toEqual([24, 46]);
    expect(await plainWeights(referenceEngine(), model, [delta({ constructor: f32([1]) }, () => [])])).toEqual({});
  });

  it("refuses to be made by a method that learns none", () => {
    expect(() => makeDelta({ id: "none", paradigm: "tuning" }, {}, {})).toThrow(/tuning\/none learns no deltas/);
  });

  it("counts what was learned", () => {
    expect(deltaSize(replaced)).toBe(4);
    expect(deltaBytes(replaced)).toBe(16);
  });
});

describe("what a delta changes", () => {
  it("is weights, or what the model reads alone", () => {
    const prompt = delta({ p: f32([1, 2], [1, 2]) }, () => [{ matches: () => true, sequence: (x) => x }]);
    const keys = delta({ k: f32([1], []) }, () => [{ matches: () => true, kv: (x) => x }]);
    expect([plus(1), times(2), replaced, prompt, keys].map((d) => changedBy(d, model))).toEqual([
      "weights",
      "weights",
      "weights",
      "input",
      "input",
    ]);
  });
});
