import { execFileSync } from "node:child_process";
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type DType, type HostTensor, isLfmError, loadWeight, Rng, viewAs } from "@lfm/core";
import fc from "fast-check";
import { afterAll, describe, expect, it } from "vitest";
import type { ByteSource } from "../file-bytes.js";
import { hashWeights } from "./hash.js";
import { dtypeNames, readHeader } from "./header.js";
import { readSafetensors } from "./read.js";
import { readWeights, writeSharded } from "./sharded.js";
import { writeSafetensors } from "./write.js";

const folder = mkdtempSync(join(tmpdir(), "lfm-safetensors-"));
afterAll(() => rmSync(folder, { recursive: true }));
const path = (name: string): string => join(folder, name);
const dtypes = Object.values(dtypeNames);
const tensor = (dtype: DType, shape: readonly number[], seed = 1): HostTensor => {
  const rng = new Rng(seed);
  const n = shape.reduce((a, b) => a * b, 1);
  const bytes = Uint8Array.from({ length: n * 8 }, () => rng.int(256));
  return { dtype, shape, data: viewAs(dtype, bytes.buffer as ArrayBuffer).slice(0, n) };
};
/** A file from its header and data, as they are. */
const raw = (name: string, header: string | Uint8Array, data = new Uint8Array(0), length?: bigint): string => {
  const text = typeof header === "string" ? Buffer.from(header) : Buffer.from(header);
  const head = Buffer.alloc(8);
  head.writeBigUInt64LE(length ?? BigInt(text.length));
  writeFileSync(path(name), Buffer.concat([head, text, data]));
  return path(name);
};
const sourceOf = (bytes: Buffer): ByteSource => ({
  size: bytes.length,
  read: (into, position) => {
    if (bytes.copy(into, 0, position) < into.length) throw new RangeError("read past the end");
  },
});
const failure = (f: () => unknown): unknown => {
  try {
    return f();
  } catch (error) {
    return error;
  }
};

describe("safetensors", () => {
  it("holds every dtype, scalars and empty tensors, bit for bit", async () => {
    const tensors = Object.fromEntries([
      ...dtypes.map((d, i) => [`t.${d}`, tensor(d, [3, 5], i)]),
      ["scalar", tensor("f32", [])],
      ["empty", tensor("i64", [0, 4])],
    ]) as Record<string, HostTensor>;
    await writeSafetensors(path("all.safetensors"), tensors, { metadata: { format: "pt", note: 'ä"\\' } });
    const file = readSafetensors(path("all.safetensors"));
    expect(file.metadata).toEqual({ format: "pt", note: 'ä"\\' });
    for (const [name, t] of Object.entries(tensors)) expect(file.tensors[name]!.read(), name).toEqual(t);
    expect(Object.keys(file.tensors).length).toBe(dtypes.length + 2);
    const bytes = readFileSync(path("all.safetensors"));
    expect(Number(bytes.readBigUInt64LE(0)) % 8).toBe(0);
  });

  it("is the same file for the same tensors in any order, and one hash for one set of weights", async () => {
    const [a, b] = [tensor("f32", [4], 1), tensor("bf16", [6], 2)];
    await writeSafetensors(path("x.safetensors"), { a, b });
    await writeSafetensors(path("y.safetensors"), { b, a });
    expect(readFileSync(path("x.safetensors"))).toEqual(readFileSync(path("y.safetensors")));
    const hash = await hashWeights({ a, b });
    expect(await hashWeights(readSafetensors(path("x.safetensors")).tensors)).toBe(hash);
    expect(await hashWeights({ a, b: tensor("bf16", [6], 3) })).not.toBe(hash);
  });

  it("takes __proto__ for a name like any other", async () => {
    const tensors = Object.fromEntries([["__proto__", tensor("f64", [])]]) as Record<string, HostTensor>;
    await writeSafetensors(path("proto.safetensors"), tensors);
    expect(Object.keys(readSafetensors(path("proto.safetensors")).tensors)).toEqual(["__proto__"]);
  });

  it("round-trips any tensors and metadata", async () => {
    const anyTensor = fc.record({ dtype: fc.constantFrom(...dtypes), shape: fc.array(fc.nat(4), { maxLength: 3 }), seed: fc.nat(1000) });
    await fc.assert(
      fc.asyncProperty(
        fc.dictionary(
          fc.string().filter((s) => s !== "__metadata__"),
          anyTensor,
          { maxKeys: 5 },
        ),
        fc.dictionary(fc.string(), fc.string(), { maxKeys: 3 }),
        async (specs, metadata) => {
          const tensors = Object.fromEntries(Object.entries(specs).map(([name, s]) => [name, tensor(s.dtype, s.shape, s.seed)]));
          await writeSafetensors(path("any.safetensors"), tensors, { metadata });
          const file = readSafetensors(path("any.safetensors"));
          expect({ ...file.metadata }).toEqual({ ...metadata });
          expect(Object.keys(file.tensors).sort()).toEqual(Object.keys(tensors).sort());
          for (const [name, t] of Object.entries(tensors)) expect(file.tensors[name]!.read()).toEqual(t);
        },
      ),
      { numRuns: 60 },
    );
  });

  it("converts floats on the way, leaves integers", async () => {
    await writeSafetensors(
      path("half.safetensors"),
      { w: { dtype: "f32", shape: [2], data: Float32Array.of(1.5, -2) }, n: { dtype: "i64", shape: [1], data: BigInt64Array.of(7n) } },
      { dtype: "bf16" },
    );
    const { tensors } = readSafetensors(path("half.safetensors"));
    expect([tensors.w!.dtype, tensors.n!.dtype]).toEqual(["bf16", "i64"]);
    expect([...(loadWeight(tensors.w!).data as Uint16Array)]).toEqual([0x3fc0, 0xc000]);
  });

  it.each([
    ["shorter than a length", () => writeFileSync(path("bad"), "abc"), "no safetensors file"],
    ["a header of 10 GB", () => raw("bad", "{}", undefined, 10_000_000_000n), "longer than"],
    ["a cut header", () => raw("bad", '{"a":', undefined, 500n), "cut short"],
    ["no JSON", () => raw("bad", "{nope}"), "not JSON"],
    ["NaN in the JSON", () => raw("bad", '{"a":{"dtype":"F32","shape":[NaN],"data_offsets":[0,4]}}', new Uint8Array(4)), "not JSON"],
    ["a header of brackets", () => raw("bad", `{"a":${"[".repeat(1e6)}`), "nested deeper"],
    ["a string without an end", () => raw("bad", '{"a\\'), "not JSON"],
    ["an array", () => raw("bad", "[1]"), "not a JSON object"],
    ["bytes that are no UTF-8", () => raw("bad", Uint8Array.of(0x7b, 0x22, 0xff, 0xfe, 0x22, 0x7d)), "UTF-8"],
    [
      "an unknown dtype",
      () => raw("bad", '{"a":{"dtype":"F128","shape":[1],"data_offsets":[0,16]}}', new Uint8Array(16)),
      '"a" has the unknown dtype F128',
    ],
    [
      "a size that does not fit",
      () => raw("bad", '{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,4]}}', new Uint8Array(4)),
      '"a" f32[2] needs 8 bytes',
    ],
    ["a negative dimension", () => raw("bad", '{"a":{"dtype":"F32","shape":[-1],"data_offsets":[0,4]}}', new Uint8Array(4)), '"a"'],
    ["fractional offsets", () => raw("bad", '{"a":{"dtype":"F32","shape":[1],"data_offsets":[0.5,4.5]}}', new Uint8Array(8)), '"a"'],
    [
      "offsets past the end",
      () => raw("bad", '{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}', new Uint8Array(4)),
      '"a" ends at 8',
    ],
    [
      "overlap",
      () =>
        raw(
          "bad",
          '{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"b":{"dtype":"F32","shape":[1],"data_offsets":[2,6]}}',
          new Uint8Array(6),
        ),
      '"b" overlaps',
    ],
    ["a hole", () => raw("bad", '{"a":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}}', new Uint8Array(8)), 'before tensor "a"'],
    [
      "bytes left over",
      () => raw("bad", '{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}', new Uint8Array(9)),
      "5 bytes at the end",
    ],
    [
      "a name twice",
      () =>
        raw(
          "bad",
          '{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}',
          new Uint8Array(4),
        ),
      "twice",
    ],
    [
      "a key of a tensor twice",
      () => raw("bad", '{"a":{"dtype":"F32","shape":[1],"d\\u0074ype":"F32","data_offsets":[0,4]}}', new Uint8Array(4)),
      'the key "dtype" twice',
    ],
    ["metadata that is no text", () => raw("bad", '{"__metadata__":{"a":1}}'), "__metadata__"],
  ])("refuses %s, naming the file", (_what, make, message) => {
    make();
    const error = failure(() => readSafetensors(path("bad")));
    expect(isLfmError(error, "FILE_FORMAT") && error.message).toContain(message);
    expect((error as Error).message).toContain(path("bad"));
  });

  it("never crashes on 10,000 mutated files", async () => {
    await writeSafetensors(
      path("seed.safetensors"),
      { "a.weight": tensor("f32", [3, 2]), b: tensor("bf16", [5]), c: tensor("i64", []) },
      { metadata: { format: "pt" } },
    );
    const original = readFileSync(path("seed.safetensors"));
    const rng = new Rng(9);
    let [refused, read] = [0, 0];
    for (let i = 0; i < 10_000; i++) {
      const bytes = Buffer.from(original);
      for (let k = 1 + rng.int(4); k > 0; k--)
        bytes[rng.int(rng.int(3) === 0 ? bytes.length : 200)] =
          rng.int(2) === 0 ? rng.int(256) : '{}[]",:0123456789-.e'.charCodeAt(rng.int(20));
      const cut = rng.int(5) === 0 ? rng.int(bytes.length) : bytes.length;
      const file = bytes.subarray(0, cut);
      // Most in memory, every 20th through the disk.
      const result = failure(() => {
        if (i % 20 > 0)
          return Object.values(readHeader("fuzz", sourceOf(file)).header.entries).map((e) =>
            viewAs(e.dtype, new ArrayBuffer(e.end - e.begin)),
          );
        writeFileSync(path("fuzz"), file);
        return Object.values(readSafetensors(path("fuzz")).tensors).map((t) => t.read());
      });
      if (Array.isArray(result)) read++;
      else if (isLfmError(result, "FILE_FORMAT")) refused++;
      else throw result;
    }
    expect(refused).toBeGreaterThan(5000);
    expect(read).toBeGreaterThan(100);
  });

  it("leaves nothing behind when it cannot write, and says where", async () => {
    const bad: HostTensor = { dtype: "f32", shape: [2], data: new Float32Array(2) };
    const unreadable = {
      ...bad,
      file: { path: "none", offset: 0, bytes: 8 },
      read: (): HostTensor => {
        throw Object.assign(new Error("gone"), { code: "EIO", syscall: "read" });
      },
    };
    const error = await writeSafetensors(path("never.safetensors"), { bad: unreadable as never }).catch((e: unknown) => e);
    expect(isLfmError(error, "FILE_IO")).toBe(true);
    writeFileSync(path("plain"), "a file, no folder");
    expect(isLfmError(await writeSafetensors(join(path("plain"), "x.safetensors"), { bad }).catch((e: unknown) => e), "FILE_IO")).toBe(
      true,
    );
    const short = { ...bad, shape: [3] };
    expect(isLfmError(await writeSafetensors(path("never.safetensors"), { short }).catch((e: unknown) => e), "SHAPE_MISMATCH")).toBe(true);
    expect(readdirSync(folder).filter((f) => f.includes("never"))).toEqual([]);
  });
});

describe("sharded weights", () => {
  const tensors = { a: tensor("f32", [4, 4], 1), b: tensor("f32", [4, 4], 2), c: tensor("f32", [2], 3) };

  it("splits by size, writes an index, and reads the whole again", async () => {
    const out = mkdtempSync(join(folder, "shards-"));
    const files = await writeSharded(out, tensors, { maxShardBytes: 100 });
    expect(files).toEqual(["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors", "model.safetensors.index.json"]);
    const { weights } = readWeights(out);
    for (const [name, t] of Object.entries(tensors)) expect(loadWeight(weights[name]!)).toEqual(t);
    const one = mkdtempSync(join(folder, "one-"));
    expect(await writeSharded(one, tensors)).toEqual(["model.safetensors"]);
    expect(await hashWeights(readWeights(one).weights)).toBe(await hashWeights(weights));
  });

  it.each([
    ["a path out of the folder", '{"weight_map":{"a":"../x.safetensors"}}', "leads out of the folder"],
    ["a path from the root", '{"weight_map":{"a":"/x.safetensors"}}', "leads out of the folder"],
    ["a path of Windows", '{"weight_map":{"a":"..\\\\x.safetensors"}}', "leads out of the folder"],
    ["a name that ends early", '{"weight_map":{"a":"x.safetensors\\u0000y"}}', "control character"],
    ["a name that cannot be", `{"weight_map":{"a":"${"x".repeat(300)}"}}`, "is longer than"],
    ["a missing shard", '{"weight_map":{"a":"gone.safetensors"}}', "is missing"],
    ["a tensor that no shard has", '{"weight_map":{"zz":"model-00001-of-00002.safetensors"}}', '"zz"'],
    ["no weight_map", "{}", "weight_map"],
  ])("refuses an index with %s", async (_what, index, message) => {
    const out = mkdtempSync(join(folder, "index-"));
    await writeSharded(out, tensors, { maxShardBytes: 100 });
    writeFileSync(join(out, "model.safetensors.index.json"), index);
    const error = failure(() => readWeights(out));
    expect(isLfmError(error, "FILE_FORMAT") && error.message).toContain(message);
  });

  it("never crashes on mutated indices", async () => {
    const out = mkdtempSync(join(folder, "index-fuzz-"));
    await writeSharded(out, tensors, { maxShardBytes: 100 });
    const index = join(out, "model.safetensors.index.json");
    const original = readFileSync(index);
    const rng = new Rng(5);
    let refused = 0;
    for (let i = 0; i < 300; i++) {
      const bytes = Buffer.from(original);
      for (let k = 1 + rng.int(3); k > 0; k--) bytes[rng.int(bytes.length)] = '{}[]",:0.-e/\\'.charCodeAt(rng.int(13));
      writeFileSync(index, bytes);
      const result = failure(() => readWeights(out).files);
      if (isLfmError(result, "FILE_FORMAT")) refused++;
      else if (!Array.isArray(result)) throw result;
    }
    expect(refused).toBeGreaterThan(200);
  });

  it("leaves nothing of before in the way when a folder is written again", async () => {
    const out = mkdtempSync(join(folder, "again-"));
    const other = { a: tensor("f32", [4, 4], 9), b: tensor("f32", [4, 4], 8), c: tensor("f32", [2], 7) };
    const hash = async (): Promise<string> => hashWeights(readWeights(out).weights);
    await writeSharded(out, tensors);
    await writeSharded(out, other, { maxShardBytes: 100 });
    expect(await hash()).toBe(await hashWeights(other));
    await writeSharded(out, tensors);
    expect(await hash()).toBe(await hashWeights(tensors));
    expect(readdirSync(out)).not.toContain("model.safetensors.index.json");
  });

  it.each([
    ["pytorch_model.bin", "pickled", /^python -c 'import glob, torch; .*pytorch_model\.bin.*weights_only=True.*model\.safetensors/],
    ["pytorch_model-00001-of-00002.bin", "pickled", /pytorch_model-\*\.bin/],
    ["model.pt", "pickled", /^python -c /],
    ["tf_model.h5", "TensorFlow", /from_tf=True/],
    ["flax_model.msgpack", "Flax", /from_flax=True/],
    ["model-q4_0.gguf", "GGUF", /^lfm convert \S*model-q4_0\.gguf /],
  ])("says how %s becomes safetensors", (name, what, line) => {
    const out = mkdtempSync(join(folder, "other-"));
    writeFileSync(join(out, "training_args.bin"), "x");
    writeFileSync(join(out, name), "x");
    for (const path of [out, join(out, name)]) {
      const error = failure(() => readWeights(path));
      expect(isLfmError(error, "FILE_FORMAT") && error.message).toContain(`${name}: `);
      expect(isLfmError(error) && error.message).toContain(what);
      expect(isLfmError(error) && error.hint).toMatch(line);
    }
  });

  it("a folder with a quote in its name gives a line that a shell takes", () => {
    const out = mkdtempSync(join(folder, "it's-"));
    writeFileSync(join(out, "pytorch_model.bin"), "x");
    const error = failure(() => readWeights(out));
    const hint = isLfmError(error) ? error.hint! : "";
    const printed = execFileSync("sh", ["-c", hint.replace(/^python -c/, "printf %s")], { encoding: "utf8" });
    expect(printed).toContain(`glob.glob("${out}/pytorch_model.bin")`);
  });
});
