import { closeSync, fstatSync, openSync, readSync, realpathSync } from "node:fs";
import { type FileTensor, type HostTensor, LfmError, viewAs } from "@lfm/core";
import { type Header, readHeader } from "./header.js";

export interface SafetensorsFile {
  /** Absolute, links resolved. */
  readonly path: string;
  readonly metadata: Readonly<Record<string, string>>;
  /** Tensors in the order of their bytes; nothing is read before `read()`. */
  readonly tensors: Readonly<Record<string, FileTensor>>;
}

/**
 * Opens a safetensors file: reads and checks the header, no tensor.
 * @throws {LfmError} FILE_IO when it cannot be read; FILE_FORMAT naming file and tensor when it is malformed
 */
export function readSafetensors(file: string): SafetensorsFile {
  const { path, header, dataStart } = openHeader(file);
  const ordered = Object.entries(header.entries).sort(([, a], [, b]) => a.begin - b.begin || a.end - b.end);
  const tensors: Record<string, FileTensor> = Object.create(null) as Record<string, FileTensor>;
  for (const [name, { dtype, shape, begin, end }] of ordered) {
    const place = { path, offset: dataStart + begin, bytes: end - begin };
    tensors[name] = { dtype, shape, file: place, read: () => readTensor(name, { dtype, shape }, place) };
  }
  return { path, metadata: header.metadata, tensors };
}

function openHeader(file: string): { path: string; header: Header; dataStart: number } {
  const fd = open(file);
  try {
    const source = { size: fstatSync(fd).size, read: (into: Uint8Array, position: number) => readExactly(fd, into, position, file) };
    return { path: realpathSync(file), ...readHeader(file, source) };
  } finally {
    closeSync(fd);
  }
}

function readTensor(name: string, type: Pick<HostTensor, "dtype" | "shape">, place: FileTensor["file"]): HostTensor {
  const fd = open(place.path);
  try {
    const buffer = new ArrayBuffer(place.bytes);
    readExactly(fd, new Uint8Array(buffer), place.offset, `${place.path}: tensor "${name}"`);
    return { ...type, data: viewAs(type.dtype, buffer) };
  } finally {
    closeSync(fd);
  }
}

function open(file: string): number {
  try {
    return openSync(file, "r");
  } catch (cause) {
    throw new LfmError("FILE_IO", `[@lfm/formats] cannot read ${file}: ${(cause as NodeJS.ErrnoException).code ?? String(cause)}`, {
      cause,
    });
  }
}

/** @throws {LfmError} FILE_IO when the file ends before, or cannot be read */
function readExactly(fd: number, into: Uint8Array, position: number, what: string): void {
  let done = 0;
  while (done < into.length) {
    let n: number;
    try {
      n = readSync(fd, into, done, Math.min(into.length - done, 1 << 30), position + done);
    } catch (cause) {
      throw new LfmError("FILE_IO", `[@lfm/formats] cannot read ${what}`, { cause });
    }
    if (n === 0)
      throw new LfmError("FILE_IO", `[@lfm/formats] ${what} ends ${into.length - done} bytes early: the file changed while it was read`);
    done += n;
  }
}
