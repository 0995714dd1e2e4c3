import { describe, expect, it } from "vitest";
import { compileModel } from "./compile-model.js";
import { type Delta, makeDelta, withDeltas } from "./delta.js";
import { sym } from "./dims.js";
import { f32, type HostTensor } from "./dtype.js";
import { referenceEngine } from "./engines/reference.js";
import { type Hook, hookOutput, hookWeight } from "./hooks.js";
import type { Model, ParamTree } from "./model.js";
import { add, linear, matmul, mul, softmax, sum } from "./ops/index.js";
import type { Site } from "./site.js";
import { convertFloat } from "./small-floats.js";
import type { Tensor } from "./tensor.js";
import { type CountingEngine, countingEngine } from "./testing/counting-engine.js";

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
  forward: (p, input, context) => ({
    logits: hookOutput(linear(input.features!, hookWeight(p.w!, site, context), undefined), input.features!, site, context),
  }),
};
const delta = (tensors: Record<string, HostTensor>, output?: (y: Tensor, t: ParamTree) => Tensor, shapes?: Delta["shapes"]): Delta => {
  const hooks = (_config: unknown, t: ParamTree): readonly Hook[] =>
    output ? [{ matches: (s) => s.path === "fc", output: (y) => output(y, t) }] : [];
  return makeDelta({ id: "test", paradigm: "tuning", delta: { hooks, ...(shapes ? { shapes: () => shapes } : {}) } }, {}, tensors);
};
const plus = (by: number): Delta => delta({ shift: f32([by, by]) }, (y, t) => add(y, t.shift!));
const full = (w: readonly number[]): Delta => delta({ w: f32(w, [2, 2]) });

/** What the model says of (1, 10); the base: (21, 43). */
const asked = { x: { dtype: "f32", shape: [1, 2] } } as const;
const open = (engine: CountingEngine, m: Model) =>
  compileModel(engine, m, asked, ({ x }, params, at) => ({ y: at.forward(params, { features: x }, { mode: "eval" }).logits! }));
const said = async (f: Awaited<ReturnType<typeof open>>): Promise<number[]> => [
  ...((await f({ x: f32([1, 10], [1, 2]) })).y.data as Float32Array),
];
const counting = (): CountingEngine => countingEngine(referenceEngine());

describe("a model with live parameters", () => {
  it("binds other values without tracing, and refuses what does not fit", async () => {
    const engine = counting();
    const n = sym("n");
    const rows = (...by: number[]): Delta =>
      delta(
        {
          shift: f32(
            by.flatMap((v) => [v, v]),
            [by.length, 2],
          ),
        },
        (y, t) => add(y, sum(t.shift!, 0)),
        { shift: [n, 2] },
      );
    const f = await open(engine, withDeltas(model, [rows(1)]));
    const { model: before } = f.bound();
    expect(await said(f)).toEqual([22, 44]);
    f.rebind({ "delta.0.shift": f32([1, 2, 3, 4, 5, 6], [3, 2]) });
    expect(await said(f)).toEqual([30, 55]);
    expect([f.bound().model, engine.counts]).toEqual([before, { compiled: 1, released: 0 }]);
    expect(() => f.rebind({ w: f32([1, 2, 3, 4], [2, 2]) })).toThrow(/"w" is no live parameter/);
    expect(() => f.rebind({ "delta.0.shift": f32([1, 2, 3], [1, 3]) })).toThrow(/live\/delta.0.shift/);
    expect(await said(f), "a value that was refused changes nothing").toEqual([30, 55]);
    await f.dispose();
  });

  it("swaps deltas of equal structure in one session, and the base in another", async () => {
    const engine = counting();
    const f = await open(engine, withDeltas(model, [plus(1)]));
    expect(await said(f)).toEqual([22, 44]);
    await f.swap(withDeltas(model, [plus(2)]));
    expect(await said(f)).toEqual([23, 45]);
    expect(engine.counts).toEqual({ compiled: 1, released: 0 });
    await f.swap(model);
    expect(await said(f)).toEqual([21, 43]);
    expect(engine.counts, "the session that nobody uses is given back").toEqual({ compiled: 2, released: 1 });
    await f.dispose();
    expect(engine.counts.released).toBe(2);
  });

  it("shares a session with others on the same base", async () => {
    const engine = counting();
    const all = await Promise.all([1, 2, 3].map((by) => open(engine, withDeltas(model, [plus(by)]))));
    expect(await Promise.all(all.map(said))).toEqual([
      [22, 44],
      [23, 45],
      [24, 46],
    ]);
    expect(engine.counts.compiled).toBe(1);
  });

  it("takes full weights in place of the base's, of small float types too", async () => {
    const engine = counting();
    const f = await open(engine, withDeltas(model, [full([0, 1, 1, 0])]));
    expect(await said(f)).toEqual([10, 1]);
    const half = delta({ w: convertFloat(f32([2, 0, 0, 1], [2, 2]), "bf16") });
    await f.swap(withDeltas(model, [half]));
    expect(await said(f)).toEqual([2, 10]);
    await f.swap(withDeltas(model, [full([1, 0, 0, 1]), plus(1)]));
    expect(await said(f)).toEqual([2, 11]);
    expect(engine.counts.compiled).toBe(2);
  });

  it("keeps its session while a codebook grows, where the delta names its rows by a symbol", async () => {
    const rows = sym("rows");
    // y + softmax(y·keysᵀ)·values: rows of any number
    const codebook = (n: number, shapes?: Delta["shapes"]): Delta => {
      const values = f32(
        Array.from({ length: 2 * n }, (_, i) => i % 5),
        [n, 2],
      );
      return delta(
        { keys: f32(new Float32Array(2 * n), [n, 2]), values },
        (y, t) => add(y, matmul(softmax(matmul(y, t.keys!, { transB: true })), t.values!)),
        shapes,
      );
    };
    const shapes = { keys: [rows, 2], values: [rows, 2] };
    const grown = async (engine: CountingEngine, declared?: Delta["shapes"]): Promise<number[][]> => {
      const f = await open(engine, withDeltas(model, [codebook(1, declared), codebook(4, declared)]));
      const seen = [await said(f)];
      for (let n = 2; n <= 6; n++) {
        await f.swap(withDeltas(model, [codebook(n, declared), codebook(3, declared)]));
        seen.push(await said(f));
        if (declared) expect(f.bound().dims).toEqual({ delta0_rows: n, delta1_rows: 3 });
      }
      return seen;
    };
    const [symbols, sizes] = [counting(), counting()];
    expect(await grown(symbols, shapes)).toEqual(await grown(sizes));
    expect([symbols.counts.compiled, sizes.counts.compiled]).toEqual([1, 6]);
  });

  it("refuses another base and a size that contradicts the shape, and goes on as it was", async () => {
    const engine = counting();
    const f = await open(engine, withDeltas(model, [plus(1)]));
    await expect(f.swap({ ...model, info: { ...model.info } })).rejects.toMatchObject({ code: "PARENT_MISMATCH" });
    const wrong = delta({ shift: f32([1, 2, 3]) }, (y, t) => mul(y, t.shift!), { shift: [2] });
    await expect(f.swap(withDeltas(model, [wrong]))).rejects.toMatchObject({ code: "SHAPE_MISMATCH" });
    expect(await said(f)).toEqual([22, 44]);
  });

  it("writes into buffers that it is given", async () => {
    const f = await open(counting(), withDeltas(model, [plus(1)]));
    const y = f32([0, 0], [1, 2]);
    expect((await f({ x: f32([1, 10], [1, 2]) }, { y })).y).toBe(y);
    expect([...y.data]).toEqual([22, 44]);
  });
});
