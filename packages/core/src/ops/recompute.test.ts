import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { grad } from "../autodiff.js";
import { compile } from "../compile.js";
import { f32, type HostTensor } from "../dtype.js";
import { ortEngine } from "../engines/ort.js";
import { referenceEngine } from "../engines/reference.js";
import { isLfmError } from "../errors.js";
import { liveness } from "../liveness.js";
import { Rng } from "../rng.js";
import { constant, type Tensor } from "../tensor.js";
import { deviation } from "../testing/gradient-check.js";
import { trace } from "../trace.js";
import { gelu } from "./activations.js";
import { add, mul, square, tanh } from "./elementwise.js";
import { linear, matmul } from "./matmul.js";
import { rmsNorm } from "./norm.js";
import { barrier, recompute } from "./recompute.js";
import { mean, sum } from "./reduce.js";

const [depth, rows, width] = [8, 24, 16];
const rng = new Rng(2);
const normal = (...shape: number[]): HostTensor =>
  f32(
    rng.normalArray(shape.reduce((a, b) => a * b, 1)).map((v) => v * 0.3),
    shape,
  );
const weights = Array.from({ length: depth }, () => ({
  scale: normal(width),
  inner: normal(4 * width, width),
  bias: normal(4 * width),
  outer: normal(width, 4 * width),
}));
type Block = Record<keyof (typeof weights)[number], Tensor>;
const specs = {
  x: { dtype: "f32", shape: [rows, width] },
  blocks: weights.map((w) => ({
    scale: { dtype: "f32", shape: w.scale.shape } as const,
    inner: { dtype: "f32", shape: w.inner.shape } as const,
    bias: { dtype: "f32", shape: w.bias.shape } as const,
    outer: { dtype: "f32", shape: w.outer.shape } as const,
  })),
} as const;
const inputs = { x: normal(rows, width), blocks: weights };

const block = (w: Block, x: Tensor): Tensor => add(x, linear(gelu(linear(rmsNorm(x, w.scale), w.inner, w.bias)), w.outer, undefined));
/** Loss and gradients of a stack of residual blocks. */
const stack = (run: (w: Block, x: Tensor) => Tensor) => (given: { readonly x: Tensor; readonly blocks: readonly Block[] }) => {
  const loss = mean(square(given.blocks.reduce((x, w) => run(w, x), given.x)));
  const wrt = [given.x, ...given.blocks.flatMap((w) => [w.scale, w.inner, w.bias, w.outer])];
  return { loss, gradients: grad(loss, wrt) };
};
const kept = stack(block);
const again = stack((w, x) => recompute((h) => block(w, h), x));

describe("recomputation", () => {
  it("halves the activations that a deep stack keeps for its backward pass, at least", () => {
    const [a, b] = [trace(specs, kept).graph, trace(specs, again).graph];
    const atLoss = (graph: typeof a): number =>
      liveness(graph).bytes[graph.nodes.indexOf(graph.outputs.find((o) => o.name === "out/loss")!.tensor.node)]!;
    expect(atLoss(b) / atLoss(a)).toBeLessThan(0.2);
    expect(liveness(b).peak / liveness(a).peak).toBeLessThan(0.5);
    const products = (graph: typeof a): number => graph.nodes.filter((n) => ["gemm", "matmul"].includes(n.op.name)).length;
    expect(products(b) - products(a), "the second product of a block is not needed again").toBe(depth);
  });

  it.each([
    ["reference", 1e-12, async () => referenceEngine({ unrounded: true })],
    ["ort", 1e-6, () => ortEngine({ threads: 1 })],
  ] as const)("gives the same gradients (%s)", async (_name, tolerance, open) => {
    const engine = await open();
    const [a, b] = [await compile(engine, specs, kept), await compile(engine, specs, again)];
    const [x, y] = [await a(inputs), await b(inputs)];
    expect(y.loss.data).toEqual(x.loss.data);
    for (const [i, g] of x.gradients.entries()) {
      const size = Math.max(...Array.from(g.data as Float32Array, Math.abs));
      const scaled = (t: HostTensor): Float64Array => Float64Array.from(t.data as Float32Array, (v) => v / size);
      expect(deviation(scaled(y.gradients[i]!), scaled(g)), `gradient ${i}`).toBeLessThan(tolerance);
    }
    await engine.dispose();
  });

  it("works inside of itself, for what the function reads, and for parts of the results", async () => {
    const f =
      (outer: typeof recompute, inner: typeof recompute) =>
      ({ x, w }: { x: Tensor; w: Tensor }) => {
        const shared = tanh(w);
        const { a, b, unchanged } = outer(
          ({ h }: { h: Tensor }) => {
            const a = inner((v: Tensor) => matmul(tanh(v), shared), h);
            return { a, b: mul(a, h), unchanged: shared };
          },
          { h: mul(x, 2) },
        );
        return grad(add(sum(square(b)), sum(mul(unchanged, a))), [x, w, shared]);
      };
    const plain = ((g: (x: Tensor) => Tensor, x: Tensor) => g(x)) as typeof recompute;
    const spec = { dtype: "f32", shape: [4, 4] } as const;
    const values = { x: normal(4, 4), w: normal(4, 4) };
    const engine = referenceEngine({ unrounded: true });
    const [expected, got] = [
      await (await compile(engine, { x: spec, w: spec }, f(plain, plain)))(values),
      await (await compile(engine, { x: spec, w: spec }, f(recompute, recompute)))(values),
    ];
    for (const [i, g] of expected.entries()) expect(deviation(got[i]!.data as Float64Array, g.data as Float64Array)).toBeLessThan(1e-12);
  });

  it("refuses derivatives by what lies inside", () => {
    let inner: Tensor | undefined;
    const f = ({ x }: { x: Tensor }): Tensor => {
      const y = recompute((v) => {
        inner = tanh(v);
        return square(inner);
      }, x);
      return grad(sum(y), inner!);
    };
    let error: unknown;
    try {
      trace({ x: { dtype: "f32", shape: [3] } }, f);
    } catch (e) {
      error = e;
    }
    expect(isLfmError(error, "NOT_DIFFERENTIABLE")).toBe(true);
  });
});

describe("barrier", () => {
  it("keeps equal expressions apart, in our graph and in ONNX Runtime's", async () => {
    const folder = mkdtempSync(join(tmpdir(), "lfm-barrier-"));
    const engine = await ortEngine({ threads: 1, profile: join(folder, "profile") });
    const f = await compile(engine, { x: { dtype: "f32", shape: [3] } }, ({ x }) =>
      add(add(tanh(x), tanh(x)), tanh(barrier(x, [constant(f32([1, 2]))]))),
    );
    expect(f.graph.nodes.filter((n) => n.op.name === "tanh")).toHaveLength(2);
    expect((await f({ x: f32([0, 1, 2]) })).data[1]).toBeCloseTo(3 * Math.tanh(1), 6);
    await engine.dispose();
    const profile = readFileSync(join(folder, readdirSync(folder)[0]!), "utf8");
    rmSync(folder, { recursive: true });
    const events = JSON.parse(profile) as { readonly name: string; readonly args?: { readonly op_name?: string } }[];
    expect(events.filter((e) => e.args?.op_name === "Tanh" && e.name.endsWith("_kernel_time"))).toHaveLength(2);
  });
});
