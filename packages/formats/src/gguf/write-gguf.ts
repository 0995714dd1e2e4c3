import { sizeOf } from "@lfm/core";
import { writeWholeFile } from "../whole-file.js";

/** A value of metadata with its type in the file. */
export type GgufWritten =
  | { readonly u32: number }
  | { readonly f32: number }
  | { readonly bool: boolean }
  | { readonly text: string }
  | { readonly texts: readonly string[] }
  | { readonly f32s: readonly number[] }
  | { readonly i32s: readonly number[] };

/** A tensor as it is written: bytes of the type with this number (ggml-types.ts), row-major. */
export interface GgufTensorData {
  readonly shape: readonly number[];
  readonly type: number;
  readonly bytes: Uint8Array;
}

const ALIGNMENT = 32;

/**
 * Writes a GGUF file, version 3. It appears under its name only when it is whole.
 * @throws {LfmError} FILE_IO with nothing left behind
 */
export async function writeGguf(
  path: string,
  metadata: Readonly<Record<string, GgufWritten>>,
  tensors: Readonly<Record<string, GgufTensorData>>,
): Promise<void> {
  const head = new ByteWriter();
  head.bytes(new TextEncoder().encode("GGUF"));
  head.u32(3);
  head.u64(Object.keys(tensors).length);
  head.u64(Object.keys(metadata).length);
  for (const [key, value] of Object.entries(metadata)) writeValue(head, key, value);
  let offset = 0;
  for (const [name, { shape, type, bytes }] of Object.entries(tensors)) {
    head.text(name);
    head.u32(shape.length);
    for (const size of [...shape].reverse()) head.u64(size);
    head.u32(type);
    head.u64(offset);
    offset += aligned(bytes.length);
  }
  await writeWholeFile(path, async (put) => {
    const start = head.done();
    put(start);
    put(new Uint8Array(aligned(start.length) - start.length));
    for (const { bytes } of Object.values(tensors)) {
      put(bytes);
      put(new Uint8Array(aligned(bytes.length) - bytes.length));
    }
  });
}

/** f32 numbers as a tensor. */
export function f32Tensor(data: Float32Array, shape: readonly number[]): GgufTensorData {
  if (data.length !== sizeOf(shape)) throw new RangeError(`${data.length} numbers are no tensor of shape [${shape}]`);
  return { shape, type: 0, bytes: new Uint8Array(data.buffer, data.byteOffset, data.byteLength) };
}

function aligned(bytes: number): number {
  return Math.ceil(bytes / ALIGNMENT) * ALIGNMENT;
}

function writeValue(head: ByteWriter, key: string, value: GgufWritten): void {
  head.text(key);
  if ("u32" in value) head.u32(4).u32(value.u32);
  else if ("f32" in value) head.u32(6).f32(value.f32);
  else if ("bool" in value) head.u32(7).bytes(Uint8Array.of(value.bool ? 1 : 0));
  else if ("text" in value) head.u32(8).text(value.text);
  else if ("texts" in value) writeList(head, 8, value.texts, (x) => head.text(x));
  else if ("f32s" in value) writeList(head, 6, value.f32s, (x) => head.f32(x));
  else writeList(head, 5, value.i32s, (x) => head.u32(x >>> 0));
}

function writeList<T>(head: ByteWriter, type: number, values: readonly T[], write: (value: T) => void): void {
  head.u32(9).u32(type).u64(values.length);
  for (const value of values) write(value);
}

class ByteWriter {
  private readonly parts: Uint8Array[] = [];

  bytes(part: Uint8Array): this {
    this.parts.push(part);
    return this;
  }

  u32(value: number): this {
    return this.number(4, (view) => view.setUint32(0, value, true));
  }

  u64(value: number): this {
    return this.number(8, (view) => view.setBigUint64(0, BigInt(value), true));
  }

  f32(value: number): this {
    return this.number(4, (view) => view.setFloat32(0, value, true));
  }

  text(value: string): this {
    const bytes = new TextEncoder().encode(value);
    return this.u64(bytes.length).bytes(bytes);
  }

  done(): Uint8Array {
    return Buffer.concat(this.parts);
  }

  private number(bytes: number, write: (view: DataView) => void): this {
    const part = new Uint8Array(bytes);
    write(new DataView(part.buffer));
    return this.bytes(part);
  }
}
