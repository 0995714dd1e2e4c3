import { describe, expect, it } from "vitest";
import { grad } from "./autodiff.js";
import { compile, compileStep } from "./compile.js";
import { sym } from "./dims.js";
import { f32, type HostTensor, i32, zeros } from "./dtype.js";
import type { Engine } from "./engines/engine.js";
import { ortEngine } from "./engines/ort.js";
import { referenceEngine } from "./engines/reference.js";
import { isLfmError, LfmError } from "./errors.js";
import { add, mul, square, sub } from "./ops/elementwise.js";
import { gather } from "./ops/index-ops.js";
import { matmul } from "./ops/matmul.js";
import { softmax } from "./ops/norm.js";
import { mean, sum } from "./ops/reduce.js";
import { constant, type Tensor } from "./tensor.js";
import { type CountingEngine, countingEngine } from "./testing/counting-engine.js";
import { trace } from "./trace.js";

const counting = (): CountingEngine => countingEngine(referenceEngine());

const vector = { x: { dtype: "f32", shape: [2] } } as const;
const double = ({ x }: { x: Parameters<typeof mul>[0] }) => mul(x, 2);
const codeOf = (p: Promise<unknown>): Promise<unknown> => p.then(() => "no error").catch((e: unknown) => (isLfmError(e) ? e.code : e));

describe("the compile cache", () => {
  it("has one executable for graphs of equal structure and gives it back with its last user", async () => {
    const engine = counting();
    const [a, b] = [await compile(engine, vector, double), await compile(engine, vector, double)];
    expect(engine.counts.compiled).toBe(1);
    await a.dispose();
    await a.dispose();
    expect(engine.counts.released, "disposing twice counts once").toBe(0);
    expect([...(await b({ x: f32([1, 2]) })).data]).toEqual([2, 4]);
    await b.dispose();
    expect(engine.counts.released).toBe(1);
    await (await compile(engine, vector, double)).dispose();
    expect([engine.counts.compiled, engine.counts.released]).toEqual([2, 2]);
  });

  it("tells structures, constants, options, engines and frozen weights apart", async () => {
    const engine = counting();
    const w = f32([1, 2]);
    const withWeight = (weight: HostTensor) => compile(engine, vector, ({ x }, f) => add(x, f.w), { frozen: { w: weight } });
    await compile(engine, vector, double);
    await compile(engine, vector, ({ x }) => mul(x, 3));
    await compile(engine, { x: { dtype: "f32", shape: [3] } } as const, double);
    await compile(engine, vector, double, { threads: 1 });
    expect(engine.counts.compiled).toBe(4);
    await withWeight(w);
    await withWeight(w);
    expect(engine.counts.compiled).toBe(5);
    await withWeight(f32([1, 2]));
    expect(engine.counts.compiled).toBe(6);
    const other = counting();
    await compile(other, vector, double);
    expect(other.counts.compiled).toBe(1);
  });

  it("tells graphs apart that declare inputs which they do not read", async () => {
    const engine = counting();
    const two = { ...vector, unread: { dtype: "f32", shape: [1] } } as const;
    await compile(engine, two, double);
    const one = await compile(engine, vector, double);
    expect([...(await one({ x: f32([1, 2]) })).data]).toEqual([2, 4]);
    expect(engine.counts.compiled).toBe(2);
  });

  it("tells large constants apart by more than 32 bits, and joins those that are equal", () => {
    const with2 = (a: number): HostTensor => f32([...new Array<number>(64).fill(0), a, a / 2]);
    const fnv = ({ data }: HostTensor): number =>
      new Uint8Array(data.buffer).reduce((h, byte) => Math.imul(h ^ byte, 0x01000193) >>> 0, 0x811c9dc5);
    const [a, b] = [with2(20316), with2(21843)];
    expect(fnv(a)).toBe(fnv(b));
    const of = (...values: HostTensor[]) =>
      trace({ x: { dtype: "f32", shape: [66] } }, ({ x }) => values.map((v) => mul(x, constant(v)))).graph;
    expect(of(a).structure).not.toBe(of(b).structure);
    expect(of(a).structure).toBe(of(with2(20316)).structure);
    expect(of(a, b).nodes.map((n) => n.op.name)).toEqual(["constant", "mul", "constant", "mul"]);
    expect(of(a, with2(20316)).nodes.map((n) => n.op.name)).toEqual(["constant", "mul"]);
    expect(of(f32([0])).structure).not.toBe(of(f32([-0])).structure);
  });

  it("does not keep a failure", async () => {
    const engine = counting();
    let fail = true;
    const flaky: Engine = {
      ...engine,
      compile: async (...args) => {
        if (fail) throw new LfmError("OP_UNSUPPORTED", "not today");
        return engine.compile(...args);
      },
    };
    expect(await codeOf(compile(flaky, vector, double))).toBe("OP_UNSUPPORTED");
    fail = false;
    expect([...(await (await compile(flaky, vector, double))({ x: f32([1, 2]) })).data]).toEqual([2, 4]);
  });

  it("merges equal subexpressions and drops what no output needs", () => {
    const { graph } = trace(
      vector,
      ({ x }, w) => {
        mul(x, w.unused);
        return add(square(x), square(x));
      },
      { unused: f32([1, 2]) },
    );
    expect(graph.nodes.map((n) => n.op.name)).toEqual(["square", "add"]);
    expect(graph.frozen).toEqual([]);
  });
});

describe.each([
  ["ort", () => ortEngine({ threads: 1 })],
  ["reference", async () => referenceEngine()],
] as const)("a step on %s", (_name, open) => {
  const descent = async (w: HostTensor) =>
    compileStep(await open(), {
      state: { w },
      inputs: { target: { dtype: "f32", shape: [2] } },
      step: ({ w }, { target }) => {
        const loss = sum(square(sub(w, target)));
        return { state: { w: sub(w, mul(grad(loss, w), 0.25)) }, outputs: { loss } };
      },
    });

  it("swaps two buffers and leaves the caller's initial values alone", async () => {
    const initial = f32([0, 8]);
    const step = await descent(initial);
    const target = f32([4, 4]);
    const states = [step.state().w];
    const losses: number[] = [];
    for (let i = 0; i < 3; i++) {
      losses.push((await step.run({ target })).loss.data[0] as number);
      states.push(step.state().w);
    }
    expect(losses).toEqual([32, 8, 2]);
    expect(states[2]!.data).toBe(states[0]!.data);
    expect(states[3]!.data).toBe(states[1]!.data);
    expect(states[1]!.data).not.toBe(states[0]!.data);
    expect([...step.state().w.data]).toEqual([3.5, 4.5]);
    expect([...initial.data]).toEqual([0, 8]);
    await step.dispose();
  });

  it("goes on from a loaded state", async () => {
    const step = await descent(f32([0, 0]));
    step.load({ w: f32([2, 6]) });
    await step.run({ target: f32([4, 4]) });
    expect([...step.state().w.data]).toEqual([3, 5]);
    expect(() => step.load({ w: f32([1, 2, 3]) })).toThrow("does not fit");
    await step.dispose();
  });

  it("serves every length of a symbolic dimension from one executable", async () => {
    const engine = await open();
    const table = f32(
      Array.from({ length: 12 }, (_, i) => i),
      [4, 3],
    );
    // Attention over a sequence: symbols in matmul, softmax, reductions and their derivatives.
    const f = await compile(
      engine,
      { tokens: { dtype: "i32", shape: [sym("batch"), sym("seq")] } },
      ({ tokens }, w) => {
        const x = gather(w.table, tokens);
        const y = matmul(softmax(matmul(x, x, { transB: true })), x);
        return { y, gradient: grad(mean(square(y)), w.table) };
      },
      { frozen: { table } },
    );
    const reference = await compile(referenceEngine(), { x: { dtype: "f32", shape: [1, 2, 3] } }, ({ x }) =>
      matmul(softmax(matmul(x, x, { transB: true })), x),
    );
    for (const [batch, seq] of [
      [1, 2],
      [2, 5],
      [3, 1],
    ] as const) {
      const tokens = i32(
        Array.from({ length: batch * seq }, (_, i) => i % 4),
        [batch, seq],
      );
      const { y, gradient } = await f({ tokens });
      expect(y.shape).toEqual([batch, seq, 3]);
      expect(gradient.shape).toEqual([4, 3]);
      if (seq === 1) expect([...y.data]).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8]);
      if (seq === 2) {
        const expected = await reference({ x: f32([0, 1, 2, 3, 4, 5], [1, 2, 3]) });
        for (const [i, v] of expected.data.entries()) expect(y.data[i]).toBeCloseTo(v as number, 5);
      }
    }
    await f.dispose();
  });

  it("refuses feeds that contradict the graph", async () => {
    const shape = [sym("n"), 2] as const;
    const f = await compile(await open(), { x: { dtype: "f32", shape }, y: { dtype: "f32", shape } }, ({ x, y }) => add(x, y));
    const ok = zeros([3, 2]);
    expect(await codeOf(f({ x: ok, y: zeros([4, 2]) }))).toBe("SHAPE_MISMATCH");
    expect(await codeOf(f({ x: ok, y: zeros([3, 3]) }))).toBe("SHAPE_MISMATCH");
    expect(await codeOf(f({ x: ok, y: zeros([3, 2, 1]) }))).toBe("SHAPE_MISMATCH");
    expect(await codeOf(f({ x: ok, y: zeros([3, 2], "i32") }))).toBe("DTYPE_UNSUPPORTED");
    // @ts-expect-error an input is missing
    expect(await codeOf(f({ x: ok }))).toBe("SHAPE_MISMATCH");
    await f.dispose();
  });
});

describe("a step's state", () => {
  it("must come back with the same names, types and shapes", async () => {
    const make = (next: (w: Tensor) => { readonly w: Tensor }): Promise<unknown> =>
      compileStep(referenceEngine(), {
        state: { w: f32([1, 2]) },
        inputs: {},
        step: ({ w }) => ({ state: next(w), outputs: {} }),
      });
    // @ts-expect-error the state is missing
    expect(await codeOf(make(() => ({})))).toBe("SHAPE_MISMATCH");
    expect(await codeOf(make((w) => ({ w: sum(w) })))).toBe("SHAPE_MISMATCH");
  });
});
