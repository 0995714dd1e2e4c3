import { convertFloat, type SmallFloat, sizeOf } from "@lfm/core";
import type { Dequantize } from "./block-quants.js";
import type { GgufTensor } from "./read-gguf.js";
import type { Placed } from "./tensor-names.js";

/** Dtypes that floats are written in. */
export type OutDtype = "f32" | "bf16" | "f16";

/** A tensor of the folder, or one expert's share of a tensor of the file. */
export interface Piecewise {
  readonly source: GgufTensor;
  readonly dequantize: Dequantize;
  readonly placed: Placed;
  /** Shape in the folder. */
  readonly shape: readonly number[];
  /** Its first row in the file's tensor. */
  readonly firstRow: number;
}

/** Elements that are widened at a time, unless one row has more. */
const CHUNK = 2 ** 20;

/** The bytes of a tensor as the folder has it, some rows at a time; a transposed one as a whole. */
export async function* piecesOf(tensor: Piecewise, dtype: OutDtype, wait: (elements: number) => Promise<void>): AsyncIterable<Uint8Array> {
  const elements = sizeOf(tensor.shape);
  if (tensor.placed.transposed) {
    await wait(0);
    yield bytesOf(transposed(rowsOf(tensor, 0, tensor.shape[1]!), tensor.shape), dtype);
    await wait(elements);
    return;
  }
  const columns = columnsOf(tensor);
  const [rows, step] = [elements / columns, Math.max(1, Math.floor(CHUNK / columns))];
  for (let row = 0; row < rows; row += step) {
    const count = Math.min(step, rows - row);
    await wait(0);
    const values = rowsOf(tensor, row, count);
    if (tensor.placed.minusOne) for (let i = 0; i < values.length; i++) values[i] = values[i]! - 1;
    yield bytesOf(values, dtype);
    await wait(count * columns);
  }
}

/** Elements of a row as they are moved: of a vector that is put in another order, one. */
function columnsOf({ source, placed }: Piecewise): number {
  return source.shape.length === 1 && placed.pairedHeads !== undefined ? 1 : (source.shape.at(-1) ?? 1);
}

/** Rows in the order of the folder. */
function rowsOf(tensor: Piecewise, row: number, count: number): Float32Array {
  const { source, dequantize, placed, firstRow } = tensor;
  const columns = columnsOf(tensor);
  const rowBytes = (columns / source.type.elements) * source.type.bytes;
  const raw = new Uint8Array(count * rowBytes);
  if (placed.pairedHeads === undefined) source.read(raw, (firstRow + row) * rowBytes);
  else {
    const headRows = tensor.shape[0]! / placed.pairedHeads;
    for (let i = 0; i < count; i++) source.read(raw.subarray(i * rowBytes, (i + 1) * rowBytes), pairedRow(row + i, headRows) * rowBytes);
  }
  const out = new Float32Array(count * columns);
  dequantize(raw, out);
  return out;
}

/** Where a row of a head in two halves lies among pairs side by side. */
function pairedRow(row: number, headRows: number): number {
  const inHead = row % headRows;
  const half = headRows / 2;
  return row - inHead + (inHead % half) * 2 + Math.floor(inHead / half);
}

/** @param shape of the result */
function transposed(values: Float32Array, [rows, columns]: readonly number[]): Float32Array {
  const out = new Float32Array(values.length);
  for (let r = 0; r < rows!; r++) for (let c = 0; c < columns!; c++) out[r * columns! + c] = values[c * rows! + r]!;
  return out;
}

function bytesOf(values: Float32Array, dtype: OutDtype): Uint8Array {
  const data =
    dtype === "f32" ? values : convertFloat({ dtype: "f32", shape: [values.length], data: values }, dtype satisfies SmallFloat).data;
  return new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
}
