import type { LfmError } from "@lfm/core";
import type { ByteSource } from "../file-bytes.js";
import { type GgmlType, ggmlTypes } from "./ggml-types.js";
import { GgufCursor } from "./gguf-cursor.js";

/** A metadata value: integers beyond 2⁵³ are bigint. */
export type GgufValue = GgufScalar | readonly GgufScalar[];
export type GgufScalar = number | bigint | boolean | string;

/** One tensor of a header; its data begin at `offset`, counted from the start of the file. */
export interface GgufEntry {
  readonly name: string;
  /** Row-major, the outermost first: the other way round than in the file. */
  readonly shape: readonly number[];
  readonly type: GgmlType;
  readonly offset: number;
  readonly bytes: number;
}

export interface GgufHeader {
  readonly version: number;
  /** In the order of the file. */
  readonly metadata: ReadonlyMap<string, GgufValue>;
  readonly tensors: ReadonlyMap<string, GgufEntry>;
}

const MAGIC = 0x46554747;
const MAX_KEYS = 65_536;
const MAX_TENSORS = 1_000_000;
/** As many as ggml's tensors have. */
const MAX_RANK = 4;
/** Smallest entry of metadata, and of a tensor: a name of one byte, a type, a value. */
const [MIN_KEY_BYTES, MIN_TENSOR_BYTES] = [14, 25];

const ARRAY = 9;
const scalarReaders: Readonly<Record<number, { readonly bytes: number; read(c: GgufCursor): GgufScalar }>> = {
  0: { bytes: 1, read: (c) => c.view(1).getUint8(0) },
  1: { bytes: 1, read: (c) => c.view(1).getInt8(0) },
  2: { bytes: 2, read: (c) => c.view(2).getUint16(0, true) },
  3: { bytes: 2, read: (c) => c.view(2).getInt16(0, true) },
  4: { bytes: 4, read: (c) => c.u32() },
  5: { bytes: 4, read: (c) => c.view(4).getInt32(0, true) },
  6: { bytes: 4, read: (c) => c.view(4).getFloat32(0, true) },
  7: { bytes: 1, read: (c) => c.boolean() },
  8: { bytes: 8, read: (c) => c.text() },
  10: { bytes: 8, read: (c) => exact(c.view(8).getBigUint64(0, true)) },
  11: { bytes: 8, read: (c) => exact(c.view(8).getBigInt64(0, true)) },
  12: { bytes: 8, read: (c) => c.view(8).getFloat64(0, true) },
};

function exact(value: bigint): number | bigint {
  const number = Number(value);
  return Number.isSafeInteger(number) ? number : value;
}

/**
 * Reads what stands before the data of a GGUF file (versions 2 and 3, little-endian; github.com/ggml-org/ggml/blob/master/docs/gguf.md) and checks
 * that every tensor is one: known type, whole blocks, inside the file, on no other. Memory stays near the size of the header whatever counts and
 * lengths it claims: each is held against the bytes that are left.
 * @throws {LfmError} FILE_FORMAT naming the file and what is wrong
 */
export function readGgufHeader(file: string, source: ByteSource): GgufHeader {
  const c = new GgufCursor(file, source);
  const magic = source.size >= 4 ? c.u32() : 0;
  if (magic !== MAGIC) throw c.fail("is no GGUF file: it does not begin with GGUF");
  const version = c.u32();
  if (version !== 2 && version !== 3) throw wrongVersion(c, version);
  const [tensorCount, keyCount] = [c.count("tensors", MAX_TENSORS, MIN_TENSOR_BYTES), c.count("keys", MAX_KEYS, MIN_KEY_BYTES)];
  const metadata = new Map<string, GgufValue>();
  for (let i = 0; i < keyCount; i++) {
    const key = c.text();
    if (metadata.has(key)) throw c.fail(`has the key "${key}" twice`);
    metadata.set(key, readValue(c, key));
  }
  const alignment = metadata.get("general.alignment") ?? 32;
  if (typeof alignment !== "number" || !Number.isInteger(alignment) || alignment < 8 || alignment % 8 !== 0 || alignment > 2 ** 20)
    throw c.fail(`has an alignment of ${String(alignment)}: it must be a multiple of 8`);
  const entries = Array.from({ length: tensorCount }, () => readEntry(c, alignment));
  const dataStart = Math.ceil(c.position / alignment) * alignment;
  return { version, metadata, tensors: placed(c, entries, dataStart, source.size) };
}

function wrongVersion(c: GgufCursor, version: number): LfmError {
  const swapped = version % 2 ** 24 === 0 && version > 0;
  const message = swapped ? "is written for big-endian machines" : `is GGUF of version ${version}; 2 and 3 are read`;
  return c.fail(message, "convert it again with a current llama.cpp: python convert_hf_to_gguf.py MODEL");
}

function readValue(c: GgufCursor, key: string): GgufValue {
  const type = c.u32();
  if (type !== ARRAY) return reader(c, key, type).read(c);
  const { bytes, read } = reader(c, key, c.u32());
  const length = c.count(`entries of "${key}"`, Number.MAX_SAFE_INTEGER, bytes);
  const values: GgufScalar[] = [];
  for (let i = 0; i < length; i++) values.push(read(c));
  return values;
}

function reader(c: GgufCursor, key: string, type: number): { readonly bytes: number; read(c: GgufCursor): GgufScalar } {
  const found = scalarReaders[type];
  if (!found) throw c.fail(`"${key}" has the unknown value type ${type}${type === ARRAY ? " inside an array" : ""}`);
  return found;
}

function readEntry(c: GgufCursor, alignment: number): GgufEntry {
  const name = c.text();
  const rank = c.u32();
  if (rank > MAX_RANK) throw c.fail(`tensor "${name}" has ${rank} dimensions; there are at most ${MAX_RANK}`);
  const dims = Array.from({ length: rank }, () => c.size(`a dimension of tensor "${name}"`));
  const typeNumber = c.u32();
  const type = ggmlTypes.get(typeNumber);
  if (!type) throw c.fail(`tensor "${name}" has the unknown type ${typeNumber}`);
  const offset = c.size(`the offset of tensor "${name}"`);
  if (offset % alignment !== 0) throw c.fail(`tensor "${name}" lies at ${offset}, which is no multiple of ${alignment}`);
  const row = dims[0] ?? 1;
  if (row % type.elements !== 0)
    throw c.fail(`tensor "${name}" has rows of ${row} elements; ${type.name} holds blocks of ${type.elements}`);
  const bytes = dims.reduce((n, d) => n * d, 1) * (type.bytes / type.elements);
  if (!Number.isSafeInteger(bytes)) throw c.fail(`tensor "${name}" of shape [${dims}] cannot be`);
  return { name, shape: dims.reverse(), type, offset, bytes };
}

/** Entries by name, their offsets counted from the start of the file. */
function placed(c: GgufCursor, entries: readonly GgufEntry[], dataStart: number, size: number): Map<string, GgufEntry> {
  const tensors = new Map<string, GgufEntry>();
  for (const entry of entries) {
    if (tensors.has(entry.name)) throw c.fail(`has the tensor "${entry.name}" twice`);
    const offset = dataStart + entry.offset;
    if (offset + entry.bytes > size)
      throw c.fail(`tensor "${entry.name}" ends at ${offset + entry.bytes}, the file at ${size}: it is cut short`);
    tensors.set(entry.name, { ...entry, offset });
  }
  let end = 0;
  for (const entry of [...tensors.values()].sort((a, b) => a.offset - b.offset || a.bytes - b.bytes)) {
    if (entry.offset < end) throw c.fail(`tensor "${entry.name}" overlaps another`);
    end = entry.offset + entry.bytes;
  }
  return tensors;
}
