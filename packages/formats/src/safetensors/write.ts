import { closeSync, fsyncSync, openSync, renameSync, rmSync, writeSync } from "node:fs";
import { dirname } from "node:path";
import {
  bytesPerElement,
  convertFloat,
  type DType,
  type HostTensor,
  isFloatType,
  LfmError,
  loadWeight,
  makeFolder,
  type SmallFloat,
  sizeOf,
  type Weight,
} from "@lfm/core";
import { layoutFile } from "./layout.js";

export interface WriteOptions {
  /** Free text of the header; Hugging Face expects `format: "pt"` of checkpoints. */
  readonly metadata?: Readonly<Record<string, string>>;
  /** Float tensors are converted, rounded to nearest even; integers stay. Default: as they are. */
  readonly dtype?: "f32" | SmallFloat;
}

let temporaries = 0;

/** A name beside the final one that no other writer uses. */
function temporaryName(path: string): string {
  return `${path}.${process.pid}.${++temporaries}.tmp`;
}

/**
 * Writes a safetensors file: header first, then tensor by tensor, one in memory at a time. The file appears under its name only when it is whole.
 * @throws {LfmError} FILE_IO with nothing left behind
 */
export async function writeSafetensors(path: string, tensors: Readonly<Record<string, Weight>>, options: WriteOptions = {}): Promise<void> {
  const dtypeOf = (t: Weight): DType => (options.dtype !== undefined && isFloatType(t.dtype) ? options.dtype : t.dtype);
  const layout = layoutFile(
    Object.fromEntries(Object.entries(tensors).map(([name, t]) => [name, { dtype: dtypeOf(t), shape: t.shape }])),
    options.metadata,
  );
  const temporary = temporaryName(path);
  let begun = false;
  try {
    makeFolder(dirname(path));
    const fd = openSync(temporary, "wx");
    begun = true;
    try {
      writeAll(fd, layout.head);
      for (const name of layout.positions.keys()) writeAll(fd, dataOf(name, tensors[name]!, dtypeOf(tensors[name]!)));
      fsyncSync(fd);
    } finally {
      closeSync(fd);
    }
    renameSync(temporary, path);
    syncFolder(dirname(path));
  } catch (cause) {
    if (begun) rmSync(temporary, { force: true });
    if (cause instanceof LfmError) throw cause;
    const code = (cause as NodeJS.ErrnoException).code;
    throw new LfmError("FILE_IO", `[@lfm/formats] cannot write ${path}: ${code ?? String(cause)}`, {
      cause,
      ...(code === "ENOSPC" ? { hint: "the disk is full; nothing was left behind" } : {}),
    });
  }
}

function dataOf(name: string, weight: Weight, dtype: DType): Uint8Array {
  const t: HostTensor = loadWeight(weight);
  const { data } = dtype === t.dtype ? t : convertFloat(t, dtype as SmallFloat);
  if (data.byteLength !== sizeOf(weight.shape) * bytesPerElement[dtype])
    throw new LfmError(
      "SHAPE_MISMATCH",
      `[@lfm/formats] tensor "${name}" holds ${data.length} elements, its shape is [${weight.shape.join(",")}]`,
    );
  return new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
}

/** A new name is safe only when its folder is on the disk; systems that cannot open folders do so on their own. */
function syncFolder(folder: string): void {
  let fd: number;
  try {
    fd = openSync(folder, "r");
  } catch {
    return;
  }
  try {
    fsyncSync(fd);
  } catch (cause) {
    if (process.platform !== "win32") throw cause;
  } finally {
    closeSync(fd);
  }
}

function writeAll(fd: number, bytes: Uint8Array): void {
  for (let done = 0; done < bytes.length; ) done += writeSync(fd, bytes, done, Math.min(bytes.length - done, 1 << 30));
}
