import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { grad } from "../autodiff.js";
import { compile } from "../compile.js";
import { sym } from "../dims.js";
import { f32, type HostTensor, i32 } from "../dtype.js";
import { ortEngine } from "../engines/ort.js";
import { referenceEngine } from "../engines/reference.js";
import { isLfmError } from "../errors.js";
import { codeValues, dequantizeWeight, outlierColumns, quantizeBlocks, quantizeChannels, quantizeWeight } from "../quantize.js";
import { Rng } from "../rng.js";
import type { Tensor } from "../tensor.js";
import { mul, square, tanh } from "./elementwise.js";
import { gather } from "./index-ops.js";
import { linear, matmul } from "./matmul.js";
import { dequantize, dequantizeBlocks, quantizedMatmul, storedWeight } from "./quantized.js";
import { sum } from "./reduce.js";

const rng = new Rng(4);
const normal = (...shape: number[]): HostTensor => f32(rng.normalArray(shape.reduce((a, b) => a * b, 1)), shape);
const numbers = (t: HostTensor): number[] => Array.from(t.data as Float32Array);

function cosine(a: HostTensor, b: HostTensor): number {
  const dot = (x: number[], y: number[]): number => x.reduce((s, v, i) => s + v * y[i]!, 0);
  const [x, y] = [numbers(a), numbers(b)];
  return dot(x, y) / Math.sqrt(dot(x, x) * dot(y, y));
}

const distance = (a: HostTensor, b: HostTensor): number => 1 - cosine(a, b);

describe("weights in 8 bits", () => {
  it("come back at most half a step off, along either axis", async () => {
    const w = normal(5, 7);
    for (const axis of [0, 1]) {
      const { codes, scale } = quantizeChannels(w, axis);
      const f = await compile(referenceEngine(), { x: { dtype: "f32", shape: [] } }, (_, p) => dequantize(p.codes, p.scale, axis), {
        frozen: { codes, scale },
      });
      const back = numbers(await f({ x: f32([0], []) }));
      for (const [i, v] of numbers(w).entries()) {
        const step = numbers(scale)[axis === 0 ? Math.floor(i / 7) : i % 7]!;
        expect(Math.abs(back[i]! - v)).toBeLessThan(step * 0.5001);
      }
    }
  });
});

describe("weights in 4 bits", () => {
  it("are packed as bitsandbytes packs NF4 and as GGUF scales Q4_0", () => {
    const nf4 = quantizeBlocks(f32([2, -2, 0.17, 0, 0.9, -1.4, 0.05, 4]), { book: "nf4", block: 4 });
    expect(numbers(nf4.scale)).toEqual([2, 4]);
    // 2 → 1 (code 15), −2 → −1 (0), .17/2 → .0796 (8), 0 → 7; .9/4 → .2461 (10), −1.4/4 → −.3949 (3), .05/4 → 0 (7), 1 → 15
    expect([...nf4.codes.data]).toEqual([0xf0, 0x87, 0xa3, 0x7f]);
    const int4 = quantizeBlocks(f32([-4, 3.4, 0.3, 0]), { book: "int4", block: 4 });
    expect(numbers(int4.scale)).toEqual([0.5]);
    // −4 → −8 (0), 3.4 → 6.8 → 7 (15), .3 → .6 → 1 (9), 0 → 8
    expect([...int4.codes.data]).toEqual([0x0f, 0x98]);
  });

  it.each(["nf4", "int4"] as const)("come back as the nearest value of their block (%s)", async (book) => {
    const w = normal(6, 32);
    const q = quantizeBlocks(w, { book, block: 32 });
    const f = await compile(
      await ortEngine({ threads: 1 }),
      { x: { dtype: "f32", shape: [1] } },
      ({ x }, p) => ({ w: dequantizeBlocks(p.codes, p.scale, q.shape, book), x }),
      { frozen: { codes: q.codes, scale: q.scale } },
    );
    const back = await f({ x: f32([0]) });
    expect(back.w.shape).toEqual([6, 32]);
    for (const [i, v] of numbers(w).entries()) {
      const scale = numbers(q.scale)[Math.floor(i / 32)]!;
      const best = Math.min(...codeValues[book].map((c) => Math.abs(c * scale - v)));
      expect(Math.abs(numbers(back.w)[i]! - v)).toBeLessThan(best + 1e-6);
    }
    await f.dispose();
  });

  it("must fall into blocks", () => {
    expect(() => quantizeBlocks(normal(3, 5), { book: "nf4" })).toThrow("blocks of 64");
  });
});

it("ONNX Runtime widens quantised weights in the run: it does not keep them as f32", async () => {
  const folder = mkdtempSync(join(tmpdir(), "lfm-quantized-"));
  const engine = await ortEngine({ threads: 1, profile: join(folder, "profile") });
  const w = normal(32, 16);
  const [bytes, blocks] = [quantizeChannels(w, 0), quantizeBlocks(w, { book: "nf4" })];
  const frozen = { q8: { codes: bytes.codes, scale: bytes.scale }, q4: { codes: blocks.codes, scale: blocks.scale } };
  const f = await compile(
    engine,
    { x: { dtype: "f32", shape: [sym("rows"), 32] } },
    ({ x }, { q8, q4 }) => [matmul(x, dequantize(q8.codes, q8.scale, 0)), matmul(x, dequantizeBlocks(q4.codes, q4.scale, [32, 16], "nf4"))],
    { frozen },
  );
  await f({ x: normal(3, 32) });
  await engine.dispose();
  const profile = readFileSync(join(folder, readdirSync(folder)[0]!), "utf8");
  rmSync(folder, { recursive: true });
  const events = JSON.parse(profile) as { readonly name: string; readonly args?: { readonly op_name?: string } }[];
  const ran = events.filter((e) => e.name.endsWith("_kernel_time")).map((e) => e.args?.op_name);
  expect(ran).toContain("DequantizeLinear");
  expect(ran).toContain("Gather");
});

describe("products with both sides in 8 bits", () => {
  it("are exact where the numbers are whole", async () => {
    const whole = (...shape: number[]): HostTensor => {
      const t = normal(...shape);
      const data = (t.data as Float32Array).map((v, i) => (i % shape[1]! === 0 ? 127 : Math.round(Math.max(-3, Math.min(3, v)) * 20)));
      return f32(data, shape);
    };
    const [x, w] = [whole(3, 8), whole(5, 8)];
    for (const engine of [referenceEngine(), await ortEngine({ threads: 1 })]) {
      const f = await compile(
        engine,
        { x: { dtype: "f32", shape: [3, 8] }, w: { dtype: "f32", shape: [5, 8] } },
        ({ x, w }, p) => ({ quantized: quantizedMatmul(x, p.q), plain: matmul(x, w, { transB: true }) }),
        { frozen: { q: quantizeWeight(w, { layout: "out-in" }) } },
      );
      const { quantized, plain } = await f({ x, w });
      for (const [i, v] of numbers(plain).entries()) expect(Math.abs(numbers(quantized)[i]! / v - 1)).toBeLessThan(1e-5);
      await f.dispose();
    }
  });

  it("lose little when outlier columns stay f32, forward and backward, at every length", async () => {
    const [rows, k, n] = [96, 64, 48];
    const outliers = [3, 20, 41];
    const spiked = (t: HostTensor, at: readonly number[]): HostTensor =>
      f32(
        (t.data as Float32Array).map((v, i) => (at.includes(i % t.shape[1]!) ? 60 * v : v)),
        t.shape,
      );
    const [x, g, w] = [spiked(normal(rows, k), outliers), spiked(normal(rows, n), [7, 8]), normal(k, n)];
    expect(outlierColumns(x, 3)).toEqual(outliers);
    const columns = { columns: outlierColumns(x, 3), gradientColumns: outlierColumns(g, 2) };
    const frozen = { w, all: quantizeWeight(w, { layout: "in-out" }), some: quantizeWeight(w, { layout: "in-out", ...columns }) };
    const f = await compile(
      await ortEngine({ threads: 1 }),
      { x: { dtype: "f32", shape: [sym("rows"), k] }, g: { dtype: "f32", shape: [sym("rows"), n] } },
      ({ x, g }, { w, all, some }) => {
        const both = (y: Tensor) => ({ y, dx: grad(sum(mul(y, g)), x) });
        return { exact: both(matmul(x, w)), all: both(quantizedMatmul(x, all)), some: both(quantizedMatmul(x, some)) };
      },
      { frozen },
    );
    for (const length of [rows, 1]) {
      const cut = (t: HostTensor): HostTensor => f32((t.data as Float32Array).slice(0, length * t.shape[1]!), [length, t.shape[1]!]);
      const { exact, all, some } = await f({ x: cut(x), g: cut(g) });
      expect(distance(some.y, exact.y)).toBeLessThan(0.001);
      expect(distance(some.dx, exact.dx)).toBeLessThan(0.001);
      expect(distance(all.y, exact.y)).toBeGreaterThan(3 * distance(some.y, exact.y));
      expect(distance(all.dx, exact.dx)).toBeGreaterThan(3 * distance(some.dx, exact.dx));
    }
    await f.dispose();
  });

  it("can be differentiated twice, as the plain product", async () => {
    const [x, w] = [normal(6, 16), normal(16, 12)];
    const f = await compile(
      await ortEngine({ threads: 1 }),
      { x: { dtype: "f32", shape: [6, 16] } },
      ({ x }, { w, q }) => {
        const twice = (product: (x: Tensor) => Tensor): Tensor => grad(sum(square(grad(sum(tanh(product(x))), x))), x);
        return { exact: twice((x) => matmul(x, w)), quantized: twice((x) => quantizedMatmul(x, q)) };
      },
      { frozen: { w, q: quantizeWeight(w, { layout: "in-out" }) } },
    );
    const { exact, quantized } = await f({ x });
    expect(cosine(quantized, exact)).toBeGreaterThan(0.99);
    await f.dispose();
  });

  it("have no derivative by the weight, and no outlier column twice", async () => {
    const w = normal(4, 4);
    const q = quantizeWeight(w, { layout: "in-out" });
    const error = await compile(
      referenceEngine(),
      { x: { dtype: "f32", shape: [2, 4] } },
      ({ x }, p) => grad(sum(quantizedMatmul(x, p.q)), p.q.forward.scale),
      { frozen: { q } },
    ).catch((e: unknown) => e);
    expect(isLfmError(error, "NOT_DIFFERENTIABLE")).toBe(true);
    expect(() => quantizeWeight(w, { layout: "in-out", columns: [1, 1] })).toThrow("given twice");
  });
});

describe("stored weights", () => {
  const [x, w] = [normal(6, 16), normal(12, 16)];
  const exact = dequantizeWeight(quantizeWeight(w, { layout: "out-in", columns: [2, 9] }), "out-in");

  it("are what linear multiplies by, what gather takes rows of, and f32 for whoever reads them otherwise", async () => {
    const q = quantizeWeight(w, { layout: "out-in", columns: [2, 9], transposed: false });
    const ids = i32([3, 11, 3, 0], [2, 2]);
    const f = await compile(
      await ortEngine({ threads: 1 }),
      { x: { dtype: "f32", shape: [6, 16] }, ids: { dtype: "i32", shape: [2, 2] } },
      ({ x, ids }, p) => {
        const stored = storedWeight(p.q, "out-in");
        const y = linear(x, stored, undefined);
        return {
          y,
          product: quantizedMatmul(x, p.q),
          dx: grad(sum(mul(y, y)), x),
          plain: matmul(mul(y, 2), p.exact),
          rows: gather(stored, ids),
          rowsOfExact: gather(p.exact, ids),
          value: mul(stored, 1.5),
          ofExact: mul(p.exact, 1.5),
        };
      },
      { frozen: { q, exact } },
    );
    const found = await f({ x, ids });
    expect(numbers(found.y)).toEqual(numbers(found.product));
    // Without a transposed copy the gradient goes through the weight itself, exactly.
    expect(distance(found.dx, found.plain)).toBeLessThan(1e-9);
    expect(distance(found.rows, found.rowsOfExact)).toBeLessThan(1e-12);
    expect(numbers(found.value)).toEqual(numbers(found.ofExact));
    await f.dispose();
  });

  it("stay what they are for their outlier columns", () => {
    for (const [i, v] of numbers(exact).entries())
      if (i % 16 === 2 || i % 16 === 9) expect(v).toBe(numbers(w)[i]);
      else expect(Math.abs(v - numbers(w)[i]!)).toBeLessThan(0.02);
  });
});
