import {
  bytesPerElement,
  convertFloat,
  type DType,
  type HostTensor,
  isFloatType,
  LfmError,
  loadWeight,
  type SmallFloat,
  sizeOf,
  type Weight,
} from "@lfm/core";
import { writeWholeFile } from "../whole-file.js";
import { layoutFile, type TensorType } from "./layout.js";

export interface WriteOptions {
  /** Free text of the header; Hugging Face expects `format: "pt"` of checkpoints. */
  readonly metadata?: Readonly<Record<string, string>>;
  /** Float tensors are converted, rounded to nearest even; integers stay. Default: as they are. */
  readonly dtype?: "f32" | SmallFloat;
}

/** A tensor whose bytes are made while it is written. */
export interface StreamedTensor extends TensorType {
  /** Its bytes from front to back, in pieces of any size. */
  readonly pieces: () => Iterable<Uint8Array> | AsyncIterable<Uint8Array>;
}

/** Weights as they are written: one in memory at a time. */
export function streamed(
  weights: Readonly<Record<string, Weight>>,
  dtype: WriteOptions["dtype"],
): Readonly<Record<string, StreamedTensor>> {
  const out = Object.create(null) as Record<string, StreamedTensor>;
  for (const [name, weight] of Object.entries(weights)) {
    const written = dtype !== undefined && isFloatType(weight.dtype) ? dtype : weight.dtype;
    out[name] = { dtype: written, shape: weight.shape, pieces: () => [dataOf(weight, written)] };
  }
  return out;
}

/**
 * Writes a safetensors file: header first, then tensor by tensor, one in memory at a time. The file appears under its name only when it is whole.
 * @throws {LfmError} FILE_IO with nothing left behind
 */
export async function writeSafetensors(path: string, tensors: Readonly<Record<string, Weight>>, options: WriteOptions = {}): Promise<void> {
  await writeStreamed(path, streamed(tensors, options.dtype), options.metadata);
}

/**
 * The same of tensors that are made while they are written.
 * @throws {LfmError} FILE_IO with nothing left behind; SHAPE_MISMATCH for pieces that are not as many bytes as their tensor has
 */
export async function writeStreamed(
  path: string,
  tensors: Readonly<Record<string, StreamedTensor>>,
  metadata: Readonly<Record<string, string>> = {},
): Promise<void> {
  const layout = layoutFile(tensors, metadata);
  await writeWholeFile(path, async (put) => {
    put(layout.head);
    for (const name of layout.positions.keys()) await writePieces(put, name, tensors[name]!);
  });
}

async function writePieces(put: (bytes: Uint8Array) => void, name: string, tensor: StreamedTensor): Promise<void> {
  let written = 0;
  for await (const piece of tensor.pieces()) {
    put(piece);
    written += piece.length;
  }
  if (written !== sizeOf(tensor.shape) * bytesPerElement[tensor.dtype])
    throw new LfmError(
      "SHAPE_MISMATCH",
      `[@lfm/formats] tensor "${name}" holds ${written / bytesPerElement[tensor.dtype]} elements, its shape is [${tensor.shape.join(",")}]`,
    );
}

function dataOf(weight: Weight, dtype: DType): Uint8Array {
  const t: HostTensor = loadWeight(weight);
  const { data } = dtype === t.dtype ? t : convertFloat(t, dtype as SmallFloat);
  return new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
}
