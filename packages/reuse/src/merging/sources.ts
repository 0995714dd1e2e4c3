import { bytesPerElement, convertFloat, type DType, isSmallFloat, LfmError, sizeOf, widenToF32 } from "@lfm/core";
import type { MergeIo } from "./io.js";
import { kernels } from "./kernels.js";
import type { AdaptedTensor, GatheredTensor, ShiftedTensor, StoredTensor, TensorSource } from "./plan.js";
import type { ValueSource } from "./tensor-statistics.js";

/**
 * Values of a planned source as f32. Numbers that are not are refused: a merge would spread them.
 * @param working inputs are rounded to what this type can hold, as mergekit does that casts them to `dtype`
 * @throws {LfmError} FILE_FORMAT naming tensor, file and place of a NaN; FILE_IO; DTYPE_UNSUPPORTED
 */
export function openSource(io: MergeIo, source: TensorSource, working?: DType): ValueSource {
  const values = plainSource(io, source);
  if (working === undefined || working === "f32" || working === "f64" || (source.kind === "stored" && source.dtype === working))
    return values;
  return {
    ...(values.room ? { room: values.room } : {}),
    read: (start, into) => {
      values.read(start, into);
      roundTo(working, into);
    },
  };
}

function plainSource(io: MergeIo, source: TensorSource): ValueSource {
  switch (source.kind) {
    case "stored":
      return stored(io, source);
    case "adapted":
      return adapted(io, source);
    case "shifted":
      return shifted(io, source);
    case "gathered":
      return gathered(io, source);
  }
}

/** Rounds f32 values of the kernels' memory to what another type can hold, in place. */
function roundTo(dtype: DType, values: Float32Array): void {
  const { fn } = kernels();
  if (dtype === "bf16") fn.roundBf16(values.byteOffset, values.length);
  else if (dtype === "f16") fn.roundF16(values.byteOffset, values.length);
  else if (isSmallFloat(dtype)) {
    const rounded = widenToF32(convertFloat({ dtype: "f32", shape: [values.length], data: values.slice() }, dtype));
    values.set(rounded.data as Float32Array);
  } else if (dtype !== "f32" && dtype !== "f64") throw new LfmError("DTYPE_UNSUPPORTED", `[@lfm/reuse] ${dtype} is no type to merge in`);
}

/** Elements of a file. Bytes are read into the end of the array and widened from there, so that no second buffer is needed. */
function stored(io: MergeIo, { file, name, position, dtype }: StoredTensor): ValueSource {
  const reader = io.reader(file);
  const width = bytesPerElement[dtype];
  return {
    read: (start, into) => {
      const k = kernels();
      const { byteOffset: to, length: n } = into;
      const from = to + (4 - width) * n;
      let bad: number;
      if (dtype === "f64") {
        const wide = new Float64Array(n);
        reader.read(new Uint8Array(wide.buffer), position + width * start);
        into.set(wide);
        bad = k.fn.hasNaN(to, n);
      } else {
        reader.read(k.bytes(from, width * n), position + width * start);
        if (dtype === "bf16") bad = k.fn.decodeBf16(from, to, n);
        else if (dtype === "f16") bad = k.fn.decodeF16(from, to, n);
        else if (dtype === "f32") bad = k.fn.hasNaN(to, n);
        else if (dtype === "f8e4m3" || dtype === "f8e5m2") {
          const table = tableOf(dtype);
          const bytes = k.bytes(from, n);
          for (let i = 0; i < n; i++) into[i] = table[bytes[i]!]!;
          bad = k.fn.hasNaN(to, n);
        } else
          throw new LfmError("DTYPE_UNSUPPORTED", `[@lfm/reuse] "${name}" of ${file} is ${dtype}: only floating point numbers are merged`);
      }
      if (bad)
        throw new LfmError(
          "FILE_FORMAT",
          `[@lfm/reuse] "${name}" of ${file} holds NaN, first at element ${start + into.findIndex(Number.isNaN)}`,
          {
            hint: "that model is broken: leave it out, or filter the tensor",
          },
        );
    },
  };
}

const tables = new Map<DType, Float32Array>();

/** The 256 values of an 8-bit type. */
function tableOf(dtype: "f8e4m3" | "f8e5m2"): Float32Array {
  let table = tables.get(dtype);
  if (!table) {
    const data = Uint8Array.from({ length: 256 }, (_, i) => i);
    table = widenToF32({ dtype, shape: [256], data }).data as Float32Array;
    tables.set(dtype, table);
  }
  return table;
}

/** W + scale·up·down, row by row of W. The two factors are small and are held. */
function adapted(io: MergeIo, { weight, down, up, scale, transposed, magnitude }: AdaptedTensor): ValueSource {
  const inner = openSource(io, weight);
  const [a, b] = [whole(io, down), whole(io, up)];
  const [rank, inputs, outputs] = [down.shape[0]!, down.shape[1]!, up.shape[0]!];
  const width = transposed ? outputs : inputs;
  // Element (row, col) of the stored matrix: output and input trade places where it is transposed.
  const add = (into: Float32Array, at: number, row: number, from: number, count: number): void => {
    for (let r = 0; r < rank; r++) {
      if (transposed) {
        const factor = scale * a[r * inputs + row]!;
        for (let c = 0; c < count; c++) into[at + c] = into[at + c]! + factor * b[(from + c) * rank + r]!;
      } else {
        const factor = scale * b[row * rank + r]!;
        for (let c = 0; c < count; c++) into[at + c] = into[at + c]! + factor * a[r * inputs + from + c]!;
      }
    }
  };
  const sum: ValueSource = {
    ...(inner.room ? { room: inner.room } : {}),
    read: (start, into) => {
      inner.read(start, into);
      for (let at = 0; at < into.length; ) {
        const [row, from] = [Math.floor((start + at) / width), (start + at) % width];
        const count = Math.min(width - from, into.length - at);
        add(into, at, row, from, count);
        at += count;
      }
    },
  };
  return magnitude ? withMagnitude(sum, whole(io, magnitude), [transposed ? inputs : outputs, width], transposed) : sum;
}

/**
 * m · V / ‖V‖ for every output of V, a row of it or (transposed) a column. Norms are taken in f64 over all of V, once, before the first element is read.
 * @param m [out]
 */
function withMagnitude(v: ValueSource, m: Float32Array, [rows, width]: readonly [number, number], transposed: boolean): ValueSource {
  let factors: Float64Array | undefined;
  const measured = (): Float64Array => {
    const squares = new Float64Array(m.length);
    const k = kernels();
    const mark = k.mark();
    const scratch = k.takeBytes(4 * Math.min(BLOCK, rows * width));
    for (let start = 0; start < rows * width; start += BLOCK) {
      const block = k.f32(scratch, Math.min(BLOCK, rows * width - start));
      v.read(start, block);
      for (let i = 0; i < block.length; i++) {
        const output = transposed ? (start + i) % width : Math.floor((start + i) / width);
        squares[output] = squares[output]! + block[i]! ** 2;
      }
    }
    k.release(mark);
    return squares.map((s, i) => m[i]! / Math.sqrt(s));
  };
  return {
    room: (length) => 4 * BLOCK + 16 + (v.room?.(Math.max(length, BLOCK)) ?? 0),
    read: (start, into) => {
      factors ??= measured();
      v.read(start, into);
      for (let i = 0; i < into.length; i++)
        into[i] = into[i]! * factors[transposed ? (start + i) % width : Math.floor((start + i) / width)]!;
    },
  };
}

/** b + scale·by; the shift is small and is held. */
function shifted(io: MergeIo, { weight, by, scale }: ShiftedTensor): ValueSource {
  const inner = openSource(io, weight);
  const shift = whole(io, by);
  return {
    ...(inner.room ? { room: inner.room } : {}),
    read: (start, into) => {
      inner.read(start, into);
      for (let i = 0; i < into.length; i++) into[i] = into[i]! + scale * shift[start + i]!;
    },
  };
}

/** A small tensor, whole, outside the kernels' memory. */
function whole(io: MergeIo, tensor: StoredTensor): Float32Array {
  const k = kernels();
  const mark = k.mark();
  const values = k.take(sizeOf(tensor.shape));
  stored(io, tensor).read(0, values);
  const copy = values.slice();
  k.release(mark);
  return copy;
}

/** Elements that rows of other matrices are read by. */
const BLOCK = 1 << 15;

/** Rows of other matrices, each the mean of those it names. Rows that follow each other where they come from are read together. */
function gathered(io: MergeIo, { of, starts, pick, shape }: GatheredTensor): ValueSource {
  const width = sizeOf(shape.slice(1));
  const sources = of.map((s) => (s.kind === "gathered" && s.shape[0] === 1 ? once(openSource(io, s), width) : openSource(io, s)));
  const block = Math.max(1, Math.floor(BLOCK / width));
  /** How many entries of `pick` from `first` on name rows of one source in their order there, `most` at most. */
  const inOrder = (first: number, most: number): number => {
    let n = 1;
    while (n < most && pick[2 * (first + n)] === pick[2 * first] && pick[2 * (first + n) + 1] === pick[2 * first + 1]! + n) n++;
    return n;
  };
  const copies = (row: number): boolean => starts[row + 1]! - starts[row]! === 1;
  return {
    room: (length) => 4 * block * width + 16 + Math.max(0, ...sources.map((source) => source.room?.(Math.max(length, block * width)) ?? 0)),
    read: (start, into) => {
      const k = kernels();
      const mark = k.mark();
      const scratch = k.takeBytes(4 * block * width);
      for (let done = 0; done < into.length; ) {
        const [row, from] = [Math.floor((start + done) / width), (start + done) % width];
        const [first, last] = [starts[row]!, starts[row + 1]!];
        const source = sources[pick[2 * first]!];
        const left = into.length - done;
        if (copies(row)) {
          // As many rows as the rest of the run needs that are copies of one row each.
          let rows = 1;
          while (rows * width - from < left && copies(row + rows)) rows++;
          const count = Math.min(inOrder(first, rows) * width - from, left);
          source!.read(pick[2 * first + 1]! * width + from, into.subarray(done, done + count));
          done += count;
          continue;
        }
        const count = Math.min(width - from, left);
        const target = into.subarray(done, done + count).fill(0);
        for (let j = first; j < last; ) {
          // Parts of rows do not follow each other.
          const rows = count < width ? 1 : inOrder(j, Math.min(block, last - j));
          sources[pick[2 * j]!]!.read(pick[2 * j + 1]! * width + from, k.f32(scratch, rows * count));
          for (let i = 0; i < rows; i++) k.fn.addScaled(target.byteOffset, scratch + 4 * i * count, 1 / (last - first), count);
          j += rows;
        }
        done += count;
      }
      k.release(mark);
    },
  };
}

/** A matrix of one row that many rows are: it is made once and held. */
function once(source: ValueSource, width: number): ValueSource {
  let values: Float32Array | undefined;
  return {
    room: () => 4 * width + 16 + (source.room?.(width) ?? 0),
    read: (start, into) => {
      if (!values) {
        const k = kernels();
        const mark = k.mark();
        const row = k.take(width);
        source.read(0, row);
        values = row.slice();
        k.release(mark);
      }
      into.set(values.subarray(start, start + into.length));
    },
  };
}
