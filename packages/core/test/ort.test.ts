import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import {
  cast,
  compile,
  type DType,
  type FileTensor,
  f32,
  gather,
  grad,
  type HostTensor,
  i32,
  isLfmError,
  matmul,
  mul,
  ortEngine,
  Rng,
  referenceEngine,
  sum,
  sym,
} from "../src/index.js";

const root = mkdtempSync(join(tmpdir(), "lfm-ort-"));
afterAll(() => rmSync(root, { recursive: true }));

/** A .safetensors by hand: 8 bytes of header length, the header, the values. */
function safetensors(path: string, name: string, dtype: "F32" | "BF16", shape: readonly number[], data: Uint8Array): FileTensor {
  const text = JSON.stringify({ [name]: { dtype, shape, data_offsets: [0, data.byteLength] } });
  const header = Buffer.from(text.padEnd(Math.ceil(text.length / 8) * 8));
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(header.length));
  writeFileSync(path, Buffer.concat([length, header, data]));
  return fileTensor(path, dtype === "F32" ? "f32" : "bf16", shape, 8 + header.length, data.byteLength);
}

/** Whoever reads it in JavaScript is counted: weights that are mapped never are. */
let reads = 0;
function fileTensor(path: string, dtype: DType, shape: readonly number[], offset: number, bytes: number): FileTensor {
  return {
    dtype,
    shape,
    file: { path, offset, bytes },
    read: () => {
      reads++;
      const data = readFileSync(path).subarray(offset, offset + bytes);
      const copy = data.buffer.slice(data.byteOffset, data.byteOffset + bytes);
      return { dtype, shape, data: dtype === "f32" ? new Float32Array(copy) : new Uint16Array(copy) };
    },
  };
}

const values = Float32Array.of(1, 2, 3, 4, 5, 6);
const raw = new Uint8Array(values.buffer);
const x = f32([1, 10], [1, 2]);
/** [1 10]·[[1 2 3] [4 5 6]] */
const product = [41, 52, 63];

async function run(weights: Readonly<Record<string, FileTensor | HostTensor>>): Promise<number[][]> {
  const engine = await ortEngine({ threads: 1 });
  const f = await compile(
    engine,
    { x: { dtype: "f32", shape: [1, 2] } },
    ({ x }, w) => Object.fromEntries(Object.entries(w).map(([k, t]) => [k, matmul(x, t.dtype === "f32" ? t : cast(t, "f32"))])),
    { frozen: weights },
  );
  const out = await f({ x });
  await f.dispose();
  return Object.values(out).map((t) => [...(t.data as Float32Array)]);
}

describe("weights in files", () => {
  beforeAll(() => {
    for (const d of ["blobs", "snapshot", "other"]) mkdirSync(join(root, d));
  });

  it("are read in place from a .safetensors, f32 and bf16", async () => {
    reads = 0;
    const bf16 = Uint16Array.from(new Uint32Array(values.buffer), (bits) => bits >>> 16);
    const a = safetensors(join(root, "blobs", "a.safetensors"), "a", "F32", [2, 3], raw);
    const b = safetensors(join(root, "blobs", "b.safetensors"), "b", "BF16", [2, 3], new Uint8Array(bf16.buffer));
    expect(await run({ a, b })).toEqual([product, product]);
    expect(reads).toBe(0);
  });

  it("are found behind links, as in the hub's cache", async () => {
    reads = 0;
    const blob = join(root, "blobs", "1f2e");
    const link = join(root, "snapshot", "model.safetensors");
    const { file } = safetensors(blob, "a", "F32", [2, 3], raw);
    symlinkSync(join("..", "blobs", "1f2e"), link);
    expect(await run({ a: fileTensor(link, "f32", [2, 3], file.offset, file.bytes) })).toEqual([product]);
    expect(reads).toBe(0);
  });

  it("in several folders: one is read in place, the rest is copied", async () => {
    reads = 0;
    const a = safetensors(join(root, "blobs", "c.safetensors"), "a", "F32", [2, 3], raw);
    const b = safetensors(join(root, "other", "c.safetensors"), "b", "F32", [2, 3], raw);
    expect(await run({ a, b, c: f32(values, [2, 3]) })).toEqual([product, product, product]);
    expect(reads).toBe(1);
  });

  it("that are gone are named", async () => {
    const error = await run({ a: fileTensor(join(root, "none.safetensors"), "f32", [2, 3], 8, 24) }).catch((e: unknown) => e);
    expect(isLfmError(error, "FILE_IO")).toBe(true);
    expect((error as Error).message).toContain("none.safetensors");
  });

  it("in memory beyond 1.5 GB are refused before anything is copied", async () => {
    const folders = ["blobs", "other"].map((d) => safetensors(join(root, d, "big"), "a", "F32", [2, 3], raw).file);
    const big = (path: string): FileTensor => ({
      ...fileTensor(path, "f32", [2, 3], 0, 1.6e9),
      read: () => {
        throw new Error("must not be read");
      },
    });
    const error = await run({ a: big(folders[0]!.path), b: big(folders[1]!.path) }).catch((e: unknown) => e);
    expect(isLfmError(error, "BUDGET_EXCEEDED")).toBe(true);
    expect((error as { hint: string }).hint).toContain(".safetensors");
  });
});

describe("options", () => {
  it("prepack off gives the same numbers, a profile names the operators", async () => {
    const prefix = join(root, "profile");
    const specs = { x: { dtype: "f32", shape: [1, 2] } } as const;
    const w = f32(values, [2, 3]);
    for (const options of [{ prepack: false }, { profile: prefix }]) {
      const engine = await ortEngine({ threads: 1, ...options });
      const f = await compile(engine, specs, ({ x }, p) => matmul(x, p.w), { frozen: { w } });
      expect([...(await f({ x })).data]).toEqual(product);
      await engine.dispose();
      await f.dispose();
    }
    const written = readdirSync(root).filter((name) => name.startsWith("profile"));
    expect(written).toHaveLength(1);
    expect(readFileSync(join(root, written[0]!), "utf8")).toContain('"MatMul"');
  });
});

describe("sums over rows", () => {
  it.each([
    ["of a matrix", [64, 32], [0], false],
    ["of a batch", [8, 16, 40], [0, 1], false],
    ["kept as axes", [8, 16, 40], [0, 1], true],
    ["at a length known when it runs", [sym("batch"), sym("seq"), 40], [0, 1], false],
  ] as const)("%s equal the reference", async (_name, shape, axes, keepDims) => {
    const concrete = shape.length === 2 ? [...(shape as readonly number[])] : [8, 16, 40];
    const rng = new Rng(8);
    const x = f32(rng.normalArray(concrete.reduce((a, b) => a * b, 1)), concrete);
    const spec = { dtype: "f32" as const, shape };
    const [a, b] = [
      await compile(referenceEngine(), spec, (x) => sum(x, axes, { keepDims })),
      await compile(await ortEngine({ threads: 1 }), spec, (x) => sum(x, axes, { keepDims })),
    ];
    const [expected, got] = [await a(x), await b(x)];
    expect(got.shape).toEqual(expected.shape);
    for (const [i, v] of expected.data.entries()) expect(Math.abs((got.data[i] as number) - (v as number))).toBeLessThan(1e-5);
    await b.dispose();
  });
});

describe("gradient of an embedding with repeated indices", () => {
  // One vocabulary below and one above the size where the one-hot product gives way to scattering.
  it.each([40, 2048])("is the sum of all uses on 2 threads, 50 times (vocabulary %i)", async (vocab) => {
    const [n, d] = [600, 64];
    const rng = new Rng(3);
    const tokens = i32(
      Array.from({ length: n }, () => rng.int(7)),
      [n],
    );
    const weights = f32(rng.normalArray(n * d), [n, d]);
    const specs = {
      table: { dtype: "f32", shape: [vocab, d] },
      tokens: { dtype: "i32", shape: [n] },
      weights: { dtype: "f32", shape: [n, d] },
    } as const;
    const inputs = { table: f32(new Float32Array(vocab * d), [vocab, d]), tokens, weights };
    const of = ({ table, tokens, weights }: { readonly [K in keyof typeof specs]: Parameters<typeof mul>[0] & object }) =>
      grad(sum(mul(gather(table, tokens), weights)), table);
    const expected = (await (await compile(referenceEngine(), specs, of))(inputs)).data as Float32Array;
    const f = await compile(await ortEngine({ threads: 2 }), specs, of);
    for (let i = 0; i < 50; i++) {
      const { data } = await f(inputs);
      let worst = 0;
      for (let k = 0; k < expected.length; k++) worst = Math.max(worst, Math.abs((data[k] as number) - expected[k]!));
      expect(worst, `run ${i}`).toBeLessThan(1e-4);
    }
    await f.dispose();
  });
});
