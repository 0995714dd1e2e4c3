import { describe, expect, it } from "vitest";
import { grad } from "./autodiff.js";
import { compileStep } from "./compile.js";
import { sym } from "./dims.js";
import { f32, type HostTensor } from "./dtype.js";
import type { Engine } from "./engines/engine.js";
import { ortEngine } from "./engines/ort.js";
import { referenceEngine } from "./engines/reference.js";
import { splitHeld } from "./held-inputs.js";
import { add, mul, square, sub, tanh } from "./ops/elementwise.js";
import { matmul } from "./ops/matmul.js";
import { mean, sum } from "./ops/reduce.js";
import { Rng } from "./rng.js";
import { countingEngine } from "./testing/counting-engine.js";
import { trace } from "./trace.js";

const [d, n] = [4, 3];
const rng = new Rng(1);
const random = (...shape: number[]): HostTensor =>
  f32(
    Float32Array.from({ length: shape.reduce((a, b) => a * b, 1) }, () => rng.normal()),
    shape,
  );
const frozen = { below: random(d, d), above: random(d, d) };
const scalar = { dtype: "f32", shape: [] } as const;
const rows = { dtype: "f32", shape: [sym("rows"), d] } as const;

/** Two layers with a shift between them that learns; the lower layer reads the batch alone. */
const openStep = (engine: Engine, held: readonly "batch"[]) =>
  compileStep(engine, {
    state: { shift: f32(new Float32Array(d), [d]) },
    frozen,
    inputs: { batch: { x: rows, y: rows }, lr: scalar },
    held,
    step: ({ shift }, { batch, lr }, { below, above }) => {
      const hidden = tanh(matmul(batch.x, below));
      const loss = mean(square(sub(matmul(add(hidden, shift), above), batch.y)));
      return { state: { shift: sub(shift, mul(grad(loss, { shift }).shift, lr)) }, outputs: { loss } };
    },
  });

describe("held inputs", () => {
  const graph = trace(
    { batch: { x: rows, y: rows }, s: { dtype: "f32", shape: [d] } } as const,
    ({ batch, s }, { below }) => ({ out: sum(mul(add(tanh(matmul(batch.x, below)), s), square(batch.y))), seen: tanh(batch.y) }),
    { below: frozen.below },
  ).graph;

  it("takes out what depends on them alone, and leaves the rest with the inputs that bind its symbols", () => {
    const parts = splitHeld(graph, new Set(["in/batch/x", "in/batch/y"]))!;
    expect(parts.first.nodes.map((node) => node.op.name).sort()).toEqual(["matmul", "square", "tanh", "tanh"]);
    expect(parts.rest.nodes.map((node) => node.op.name)).toEqual(["add", "mul", "sum"]);
    expect(parts.rest.inputs.map((i) => i.name)).toEqual(["in/batch/x", "in/batch/y", "in/s", "held/0", "held/1", "held/2"]);
    expect(parts.rest.outputs.map((o) => o.name)).toEqual(graph.outputs.map((o) => o.name));
    expect([parts.first.frozen.length, parts.rest.frozen.length], "weights go where they are read").toEqual([1, 0]);
  });

  it("takes nothing out where nothing is computed from held inputs alone", () => {
    expect(splitHeld(graph, new Set())).toBeUndefined();
    expect(splitHeld(graph, new Set(["in/s"]))).toBeUndefined();
  });

  it.each([
    ["reference", () => Promise.resolve(referenceEngine())],
    ["ort", () => ortEngine({ threads: 1 })],
  ] as const)("gives the same steps on %s, also when another batch of other length comes", async (_name, open) => {
    const engine = await open();
    const [whole, parted] = [await openStep(engine, []), await openStep(engine, ["batch"])];
    const batches = [n, n + 2, n].map((length) => ({ x: random(length, d), y: random(length, d) }));
    for (const batch of batches)
      for (let i = 0; i < 3; i++) {
        const [a, b] = [await whole.run({ batch, lr: f32([0.1], []) }), await parted.run({ batch, lr: f32([0.1], []) })];
        expect(Number(b.loss.data[0])).toBeCloseTo(Number(a.loss.data[0]), 6);
        expect([...parted.state().shift.data].map((v) => Number(v).toFixed(5))).toEqual(
          [...whole.state().shift.data].map((v) => Number(v).toFixed(5)),
        );
      }
    await engine.dispose();
  });

  it("computes the held part once per batch, and gives back both executables", async () => {
    const inner = referenceEngine();
    const runs: number[] = [];
    const engine = countingEngine({
      ...inner,
      compile: async (g, options) => {
        const [executable, at] = [await inner.compile(g, options), runs.push(0) - 1];
        const run: typeof executable.run = (feeds, into) => {
          runs[at]! += 1;
          return executable.run(feeds, into);
        };
        return { run, dispose: () => executable.dispose() };
      },
    });
    const step = await openStep(engine, ["batch"]);
    const batch = { x: random(n, d), y: random(n, d) };
    for (let i = 0; i < 4; i++) await step.run({ batch, lr: f32([0.1], []) });
    expect(runs).toEqual([1, 4]);
    await step.run({ batch: { ...batch, x: random(n, d) }, lr: f32([0.1], []) });
    expect(runs, "another tensor for one of them").toEqual([2, 5]);
    await step.dispose();
    expect(engine.counts).toEqual({ compiled: 2, released: 2 });
  });
});
