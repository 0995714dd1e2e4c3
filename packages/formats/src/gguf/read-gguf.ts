import { closeSync, existsSync, fstatSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import { LfmError } from "@lfm/core";
import { openForReading, readExactly } from "../file-bytes.js";
import { type GgufEntry, type GgufHeader, type GgufValue, readGgufHeader } from "./header.js";

/** A tensor whose numbers are read when they are wanted. */
export interface GgufTensor extends Pick<GgufEntry, "name" | "shape" | "type" | "bytes"> {
  /** Fills `into` with its bytes from `from` on. @throws {LfmError} FILE_IO */
  read(into: Uint8Array, from: number): void;
}

export interface GgufFile {
  /** Of the first file, where several hold the model. */
  readonly metadata: ReadonlyMap<string, GgufValue>;
  readonly tensors: ReadonlyMap<string, GgufTensor>;
  close(): void;
}

/** Files of a model that is cut into several, as llama.cpp's gguf-split names them. */
const PART = /-(\d{5})-of-(\d{5})\.gguf$/;

/**
 * Opens a GGUF file, or all files of one that was split: headers only. Descriptors stay open until `close()`.
 * @throws {LfmError} FILE_IO when it cannot be read, FILE_FORMAT naming the file and what is wrong with it
 */
export function openGguf(file: string): GgufFile {
  const descriptors: number[] = [];
  const close = (): void => {
    for (const fd of descriptors.splice(0)) closeSync(fd);
  };
  try {
    const tensors = new Map<string, GgufTensor>();
    const headers = partsOf(file).map((part) => openPart(part, descriptors, tensors));
    const metadata = headers[0]!.metadata;
    const parts = metadata.get("split.count") ?? 0;
    if (headers.length === 1 && parts !== 0 && parts !== 1)
      throw new LfmError("FILE_FORMAT", `[@lfm/formats] ${file} is one of ${parts} files, and is not named as such`, {
        hint: "name it NAME-00001-of-00002.gguf, beside the others, or join them: llama-gguf-split --merge",
      });
    return { metadata, tensors, close };
  } catch (cause) {
    close();
    throw cause;
  }
}

function openPart(file: string, descriptors: number[], tensors: Map<string, GgufTensor>): GgufHeader {
  const fd = openForReading(file);
  descriptors.push(fd);
  const header = readGgufHeader(file, { size: fstatSync(fd).size, read: (into, position) => readExactly(fd, into, position, file) });
  for (const [name, entry] of header.tensors) {
    if (tensors.has(name)) throw new LfmError("FILE_FORMAT", `[@lfm/formats] ${file}: the tensor "${name}" lies in another part too`);
    const read = (into: Uint8Array, from: number): void => readExactly(fd, into, entry.offset + from, `${file}: tensor "${name}"`);
    tensors.set(name, { ...entry, read });
  }
  return header;
}

/** @throws {LfmError} FILE_IO naming a part that is missing */
function partsOf(file: string): readonly string[] {
  const [ending, , count] = PART.exec(file) ?? [];
  if (ending === undefined || Number(count) < 2) return [file];
  const stem = basename(file).slice(0, -ending.length);
  const parts = Array.from({ length: Number(count) }, (_, i) =>
    join(dirname(file), `${stem}-${String(i + 1).padStart(5, "0")}-of-${count}.gguf`),
  );
  const missing = parts.find((part) => !existsSync(part));
  if (missing !== undefined) throw new LfmError("FILE_IO", `[@lfm/formats] ${missing}, a part of ${file}, is missing`);
  return parts;
}

/** Whether two tensors are the same, number by number. */
export function sameBytes(a: GgufTensor, b: GgufTensor): boolean {
  if (a.type !== b.type || a.bytes !== b.bytes) return false;
  for (let at = 0; at < a.bytes; at += COMPARED) {
    const [x, y] = [a, b].map((t) => {
      const bytes = new Uint8Array(Math.min(COMPARED, t.bytes - at));
      t.read(bytes, at);
      return bytes;
    });
    if (Buffer.compare(x!, y!) !== 0) return false;
  }
  return true;
}

/** Bytes that are compared at a time. */
const COMPARED = 2 ** 20;
