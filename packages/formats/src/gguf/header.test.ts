import { readFileSync } from "node:fs";
import { join } from "node:path";
import { isLfmError, Rng } from "@lfm/core";
import { describe, expect, it } from "vitest";
import type { ByteSource } from "../file-bytes.js";
import { type GgufHeader, readGgufHeader } from "./header.js";

const fixture = readFileSync(join(import.meta.dirname, "../../test/golden/gguf-vocabularies/spm.gguf"));

const sourceOf = (bytes: Buffer): ByteSource => ({
  size: bytes.length,
  read: (into, position) => {
    if (bytes.copy(into, 0, position) < into.length) throw new RangeError("read past the end");
  },
});
const read = (bytes: Buffer): GgufHeader => readGgufHeader("x.gguf", sourceOf(bytes));
const failure = (bytes: Buffer): { readonly code: string; readonly message: string } => {
  try {
    read(bytes);
  } catch (error) {
    if (isLfmError(error)) return error;
    throw error;
  }
  throw new Error("nothing was thrown");
};

const u32 = (n: number): Buffer => {
  const b = Buffer.alloc(4);
  b.writeUInt32LE(n);
  return b;
};
const u64 = (n: number | bigint): Buffer => {
  const b = Buffer.alloc(8);
  b.writeBigUInt64LE(BigInt(n));
  return b;
};
const text = (s: string): Buffer => Buffer.concat([u64(Buffer.byteLength(s)), Buffer.from(s)]);
const pair = (key: string, type: number, value: Buffer): Buffer => Buffer.concat([text(key), u32(type), value]);
interface Entry {
  readonly name: string;
  readonly dims: readonly (number | bigint)[];
  readonly type: number;
  readonly offset: number;
}
const entry = ({ name, dims, type, offset }: Entry): Buffer =>
  Buffer.concat([text(name), u32(dims.length), ...dims.map(u64), u32(type), u64(offset)]);
const file = (pairs: readonly Buffer[], entries: readonly Entry[] = [], data = 0, version = 3): Buffer => {
  const head = Buffer.concat([Buffer.from("GGUF"), u32(version), u64(entries.length), u64(pairs.length), ...pairs, ...entries.map(entry)]);
  return Buffer.concat([head, Buffer.alloc((32 - (head.length % 32)) % 32), Buffer.alloc(data)]);
};
const matrix: Entry = { name: "a", dims: [32, 2], type: 8, offset: 0 };

describe("the header of a GGUF file", () => {
  it("holds every type of value, and tensors with the outermost dimension first", () => {
    const number = (write: (b: Buffer) => void, bytes: number): Buffer => {
      const b = Buffer.alloc(bytes);
      write(b);
      return b;
    };
    const bytes = file(
      [
        pair("u8", 0, Buffer.from([200])),
        pair("i8", 1, Buffer.from([200])),
        pair("u16", 2, Buffer.from([1, 2])),
        pair("i16", 3, Buffer.from([255, 255])),
        pair("u32", 4, u32(4e9)),
        pair("i32", 5, u32(4294967295)),
        pair(
          "f32",
          6,
          number((b) => b.writeFloatLE(0.5), 4),
        ),
        pair("bool", 7, Buffer.from([1])),
        pair("text", 8, text("ä\0b")),
        pair("texts", 9, Buffer.concat([u32(8), u64(2), text(""), text("x")])),
        pair("u64", 10, u64(2n ** 60n)),
        pair("i64", 11, u64(2n ** 64n - 2n)),
        pair(
          "f64",
          12,
          number((b) => b.writeDoubleLE(0.1), 8),
        ),
        pair("__proto__", 4, u32(7)),
      ],
      [matrix],
      68,
      2,
    );
    const { version, metadata, tensors } = read(bytes);
    expect(version).toBe(2);
    expect(Object.fromEntries([...metadata].filter(([key]) => key !== "__proto__"))).toEqual({
      u8: 200,
      i8: -56,
      u16: 513,
      i16: -1,
      u32: 4e9,
      i32: -1,
      f32: 0.5,
      bool: true,
      text: "ä\0b",
      texts: ["", "x"],
      u64: 2n ** 60n,
      i64: -2,
      f64: 0.1,
    });
    expect(metadata.get("__proto__")).toBe(7);
    expect(tensors.get("a")).toMatchObject({ shape: [2, 32], bytes: 68, offset: bytes.length - 68, type: { name: "Q8_0" } });
  });

  it.each<readonly [string, Buffer, RegExp]>([
    ["another file", Buffer.from("PK\u0003\u0004 not this"), /does not begin with GGUF/],
    ["an empty file", Buffer.alloc(0), /does not begin with GGUF/],
    ["version 1", file([], [], 0, 1), /version 1/],
    ["big-endian", file([], [], 0, 0x03000000), /big-endian/],
    ["2⁶⁴−1 tensors", Buffer.concat([Buffer.from("GGUF"), u32(3), u64(2n ** 64n - 1n), u64(0)]), /claims 18446744073709551615 tensors/],
    ["2⁴⁰ keys", Buffer.concat([Buffer.from("GGUF"), u32(3), u64(0), u64(2 ** 40)]), /claims 1099511627776 keys/],
    ["an array longer than the file", file([pair("a", 9, Buffer.concat([u32(8), u64(2 ** 50)]))]), /entries of "a"/],
    ["a text longer than the file", file([pair("a", 8, u64(2 ** 50))]), /bytes of a text/],
    ["an array in an array", file([pair("a", 9, Buffer.concat([u32(9), u64(1), u32(0), u64(0)]))]), /type 9 inside an array/],
    ["an unknown value type", file([pair("a", 77, u32(0))]), /unknown value type 77/],
    ["a truth value of 2", file([pair("a", 7, Buffer.from([2]))]), /truth value 2/],
    ["a text that is no UTF-8", file([pair("a", 8, Buffer.concat([u64(1), Buffer.from([0xff])]))]), /not UTF-8/],
    ["a key twice", file([pair("a", 0, Buffer.from([1])), pair("a", 0, Buffer.from([1]))]), /key "a" twice/],
    ["an alignment of 7", file([pair("general.alignment", 4, u32(7))]), /alignment of 7/],
    ["a tensor twice", file([], [matrix, matrix], 68), /tensor "a" twice/],
    ["a tensor of rank 5", file([], [{ ...matrix, dims: [32, 1, 1, 1, 1] }], 68), /5 dimensions/],
    ["an unknown tensor type", file([], [{ ...matrix, type: 99 }], 68), /unknown type 99/],
    ["half a block", file([], [{ ...matrix, dims: [16, 2] }], 68), /blocks of 32/],
    ["a shape beyond 2⁵³", file([], [{ ...matrix, dims: [2 ** 40, 2 ** 40] }], 68), /cannot be/],
    ["a dimension beyond 2⁵³", file([], [{ ...matrix, dims: [2n ** 63n] }], 68), /a dimension of tensor "a"/],
    ["data that end early", file([], [matrix], 67), /cut short/],
    ["tensors on one another", file([], [matrix, { ...matrix, name: "b", offset: 32 }], 200), /tensor "b" overlaps/],
    ["an offset between", file([], [{ ...matrix, offset: 8 }], 200), /no multiple of 32/],
  ])("refuses %s", (_, bytes, message) => {
    expect(failure(bytes)).toMatchObject({ code: "FILE_FORMAT", message: expect.stringMatching(message) });
    expect(failure(bytes).message).toContain("x.gguf");
  });

  it("refuses every file that is cut short, and never crashes on mutated ones", () => {
    read(fixture);
    for (let length = 0; length < fixture.length; length += 97) expect(failure(fixture.subarray(0, length)).code).toBe("FILE_FORMAT");
    const rng = new Rng(7);
    let refused = 0;
    for (let i = 0; i < 2_000; i++) {
      const bytes = Buffer.from(fixture);
      for (let k = rng.int(4); k >= 0; k--) bytes[rng.int(bytes.length)] = rng.int(256);
      try {
        read(bytes);
      } catch (error) {
        if (!isLfmError(error, "FILE_FORMAT")) throw error;
        refused++;
      }
    }
    expect(refused).toBeGreaterThan(500);
    expect(refused).toBeLessThan(2_000);
  });
});
