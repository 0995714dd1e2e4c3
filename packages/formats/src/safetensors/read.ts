import { closeSync, fstatSync, realpathSync } from "node:fs";
import { type FileTensor, type HostTensor, viewAs } from "@lfm/core";
import { openForReading, readExactly } from "../file-bytes.js";
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
  const fd = openForReading(file);
  try {
    const source = { size: fstatSync(fd).size, read: (into: Uint8Array, position: number) => readExactly(fd, into, position, file) };
    return { path: realpathSync(file), ...readHeader(file, source) };
  } finally {
    closeSync(fd);
  }
}

function readTensor(name: string, type: Pick<HostTensor, "dtype" | "shape">, place: FileTensor["file"]): HostTensor {
  const fd = openForReading(place.path);
  try {
    const buffer = new ArrayBuffer(place.bytes);
    readExactly(fd, new Uint8Array(buffer), place.offset, `${place.path}: tensor "${name}"`);
    return { ...type, data: viewAs(type.dtype, buffer) };
  } finally {
    closeSync(fd);
  }
}
