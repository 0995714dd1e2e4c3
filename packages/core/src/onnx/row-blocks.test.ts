import { describe, expect, it } from "vitest";
import { grad } from "../autodiff.js";
import { type Dim, sym } from "../dims.js";
import { f32, type HostTensor } from "../dtype.js";
import { ortEngine } from "../engines/ort.js";
import { geluTanh } from "../ops/activations.js";
import { add, mul } from "../ops/elementwise.js";
import { linear } from "../ops/matmul.js";
import { sum } from "../ops/reduce.js";
import type { Tensor } from "../tensor.js";
import { type Spec, trace } from "../trace.js";
import { blockRows } from "./row-blocks.js";

const [BATCH, SEQ, WIDTH, INNER] = [8, 4, 3, 16];
const values = (shape: readonly number[], seed: number): HostTensor =>
  f32(
    Array.from({ length: shape.reduce((a, b) => a * b, 1) }, (_, i) => Math.sin(seed + 1.3 * i)),
    shape,
  );
const inputs = {
  x: values([BATCH, SEQ, WIDTH], 1),
  first: values([INNER, WIDTH], 2),
  bias: values([INNER], 3),
  second: values([WIDTH, INNER], 4),
};
const wide = BATCH * SEQ * INNER * 4;

/** An MLP with a residual: its loss, its output and its derivatives. */
function mlp(batch: Dim) {
  const spec = (name: keyof typeof inputs): Spec => ({
    dtype: "f32",
    shape: name === "x" ? [batch, ...inputs.x.shape.slice(1)] : inputs[name].shape,
  });
  const specs = { x: spec("x"), first: spec("first"), bias: spec("bias"), second: spec("second") };
  return trace(specs, (p) => {
    const y = add(p.x, linear(geluTanh(linear(p.x, p.first, p.bias)), p.second, undefined));
    const loss = sum(mul(y, y));
    return { y, loss, grads: grad(loss, p as Record<string, Tensor>) };
  }).graph;
}

describe("rows in blocks", () => {
  it("give the same values and derivatives, and no wide value is left", async () => {
    const graph = mlp(BATCH);
    const cut = blockRows(graph, { wide, block: wide / 4 });
    const bytes = (g: typeof graph): number[] =>
      g.nodes.flatMap((n) => n.outputs.map((y) => (y.shape as readonly number[]).reduce((a, b) => a * b, 4)));
    expect(Math.max(...bytes(graph))).toBe(wide);
    expect(Math.max(...bytes(cut))).toBeLessThan(wide);
    const engine = await ortEngine({ threads: 1 });
    const feeds = Object.fromEntries(Object.entries(inputs).map(([name, t]) => [`in/${name}`, t]));
    const [one, other] = [await engine.compile(graph), await engine.compile(cut)];
    const [expected, got] = [await one.run(feeds), await other.run(feeds)];
    for (const [name, t] of Object.entries(expected))
      t.data.forEach((v, i) => {
        expect(Math.abs(Number(got[name]!.data[i]) - Number(v)), `${name}[${i}]`).toBeLessThan(1e-4 * Math.max(1, Math.abs(Number(v))));
      });
    await engine.dispose();
  });

  it("are not made where a value fits, where rows have no common divisor, or where shapes are symbolic", () => {
    const small = mlp(BATCH);
    expect(blockRows(small)).toBe(small);
    const odd = mlp(7);
    expect(blockRows(odd, { wide: 4 * 7 * SEQ * INNER, block: 4 * SEQ * INNER * 3 })).toBe(odd);
    const any = mlp(sym("batch"));
    expect(blockRows(any, { wide: 1, block: 1 })).toBe(any);
  });
});
