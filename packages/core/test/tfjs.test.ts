import { createRequire } from "node:module";
import { describe, expect, it } from "vitest";
import { add, cast, compile, f32, i32, isLfmError, matmul, mul, ortEngine, reluOp, sum, tfjsEngine, zeros } from "../src/index.js";
import { apply1 } from "../src/tensor.js";
import { deviation } from "../src/testing/index.js";
import { trainingStep } from "./training-step.js";

const tf = createRequire(import.meta.url)("@tensorflow/tfjs") as { memory(): { numTensors: number } };
const plain = (): ReturnType<typeof tfjsEngine> => tfjsEngine({ backend: "tfjs" });

describe("tfjs engine", () => {
  it("trains as ONNX Runtime does, to 1e-4", async () => {
    const [engine, other] = [await plain(), await ortEngine({ threads: 1 })];
    const [a, b] = [await trainingStep(engine), await trainingStep(other)];
    const [x, y] = [await a.run(12), await b.run(12)];
    expect(y.at(-1)).toBeLessThan(y[0]! * 0.7);
    expect(deviation(x, y)).toBeLessThan(1e-4);
    for (const [k, t] of Object.entries(b.params()))
      expect(deviation(a.params()[k]!.data as Float32Array, t.data as Float32Array), k).toBeLessThan(1e-4);
    await Promise.all([a.dispose(), b.dispose()]);
  });

  it("leaves no tensor behind: runs keep their number, dispose gives all back", async () => {
    const before = tf.memory().numTensors;
    const engine = await plain();
    const step = await trainingStep(engine);
    await step.run(1);
    const resident = tf.memory().numTensors;
    expect(resident).toBeGreaterThan(before);
    await step.run(3);
    expect(tf.memory().numTensors).toBe(resident);
    await step.dispose();
    expect(tf.memory().numTensors).toBe(before);
    await trainingStep(engine);
    expect(tf.memory().numTensors).toBeGreaterThan(before);
    await engine.dispose();
    expect(tf.memory().numTensors, "the engine gives back what was left open").toBe(before);
  });

  it("frees everything when an operation fails", async () => {
    const engine = await plain();
    const broken: typeof reluOp = { ...reluOp, name: "broken", tfjs: () => explode() };
    const f = await compile(engine, { x: { dtype: "f32", shape: [2] } }, ({ x }) => apply1(broken, [mul(x, 2)], {}));
    const before = tf.memory().numTensors;
    const error = await f({ x: f32([1, 2]) }).catch((e: unknown) => e);
    expect(isLfmError(error, "OP_UNSUPPORTED")).toBe(true);
    expect((error as Error).message).toContain("broken");
    expect(tf.memory().numTensors).toBe(before);
    await f.dispose();
  });

  it("writes results into the given buffers, and never hands out a buffer of its caller", async () => {
    const engine = await plain();
    const f = await compile(engine, { x: { dtype: "f32", shape: [2, 2] } }, ({ x }) => ({ same: x, twice: add(x, x), total: sum(x) }));
    const x = f32([1, 2, 3, 4], [2, 2]);
    const out = await f({ x });
    expect([...out.twice.data]).toEqual([2, 4, 6, 8]);
    expect(out.same.data).toEqual(x.data);
    expect(out.same.data).not.toBe(x.data);
    expect(out.total.shape).toEqual([]);
    await f.dispose();
  });

  it("takes frozen weights of any float type and refuses what it has no type for", async () => {
    const engine = await plain();
    const w = { dtype: "bf16" as const, shape: [2, 2], data: Uint16Array.of(0x3f80, 0x4000, 0x4040, 0x4080) };
    const f = await compile(engine, { x: { dtype: "f32", shape: [1, 2] } }, ({ x }, p) => matmul(x, cast(p.w, "f32")), { frozen: { w } });
    expect([...(await f({ x: f32([1, 1], [1, 2]) })).data]).toEqual([4, 6]);
    await f.dispose();
    const g = await compile(engine, { x: { dtype: "i64", shape: [1] } }, ({ x }) => x);
    const error = await g({ x: zeros([1], "i64") }).catch((e: unknown) => e);
    expect(isLfmError(error, "DTYPE_UNSUPPORTED")).toBe(true);
    await g.dispose();
  });

  it("says what to install when the wanted package does not load", async () => {
    const error = await tfjsEngine({ backend: "tfjs-node-gpu" }).catch((e: unknown) => e);
    expect(isLfmError(error, "BACKEND_UNAVAILABLE")).toBe(true);
    expect((error as { hint: string }).hint).toBe("npm i @tensorflow/tfjs-node-gpu");
  });

  it("picks the best that loads", async () => {
    expect((await tfjsEngine()).description).toMatch(/^@tensorflow\/tfjs(-node(-gpu)?)? 4\./);
  });

  it("takes integers through", async () => {
    const engine = await plain();
    const f = await compile(engine, { x: { dtype: "i32", shape: [3] } }, ({ x }) => add(x, x));
    const out = await f({ x: i32([1, -2, 3]) });
    expect(out.dtype).toBe("i32");
    expect([...out.data]).toEqual([2, -4, 6]);
    await f.dispose();
  });
});

function explode(): never {
  throw new Error("no kernel");
}
