import { bytesPerElement, convertFloat, type DType, isFloatType, isSmallFloat, LfmError, Rng, sizeOf } from "@lfm/core";
import type { ByteWriter, MergeIo } from "./io.js";
import { kernels } from "./kernels.js";
import type { MergeMethod, MergeTensor } from "./merge-method.js";
import type { PlannedStatistics, PlannedTensor, StoredTensor, TensorSource } from "./plan.js";
import { openSource } from "./sources.js";
import { tensorRun, type ValueSink } from "./tensor-run.js";
import type { TensorStatistics, ValueSource } from "./tensor-statistics.js";

/** Where a tensor goes. */
export interface TensorPlace {
  readonly file: string;
  /** First byte. */
  readonly position: number;
}

export interface MergeSetting {
  readonly io: MergeIo;
  readonly method: MergeMethod["merging"];
  readonly seed: number;
  readonly totals: readonly Float64Array[];
  /** Called between chunks with the bytes that were read and written since; throws to stop. */
  readonly moved: (read: number, written: number) => void;
}

/** Bytes at a time when nothing is computed. */
const COPY = 1 << 20;

/** Merges one tensor of a plan into its place. @throws {LfmError} what sources, the method and the files say */
export function mergeTensor(tensor: PlannedTensor, place: TensorPlace, setting: MergeSetting): void {
  const writer = setting.io.writer(place.file);
  const as = copyOf(tensor);
  if (as) copyBytes(as, writer, place.position, setting);
  else setting.method.merge(openTensor(tensor, setting, sinkFor(tensor, writer, place.position, setting)));
}

/** The tensor's part in the current round of a method that looks at the whole model first. */
export function surveyTensor(tensor: PlannedTensor, setting: MergeSetting): Float64Array {
  return setting.method.survey!.count(openTensor(tensor, setting, { write: () => {} }));
}

/** Whether a tensor takes part in rounds over the whole model. */
export function isMerged(tensor: PlannedTensor): boolean {
  return copyOf(tensor) === undefined;
}

function openTensor(tensor: PlannedTensor, { io, seed, totals, moved }: MergeSetting, sink: ValueSink): MergeTensor {
  const { name, shape, models, base, workingDtype, parameters } = tensor;
  const open = (source: TensorSource, working?: DType): ValueSource => {
    const values = openSource(io, source, working);
    const width = source.kind === "stored" ? bytesPerElement[source.dtype] : 4;
    return {
      ...(values.room ? { room: values.room } : {}),
      read: (start, into) => {
        values.read(start, into);
        moved(into.length * width, 0);
      },
    };
  };
  const known = ({ source, layout }: PlannedStatistics): TensorStatistics => ({ values: open(source), ...(layout ? { layout } : {}) });
  return tensorRun({
    name,
    shape,
    parameters,
    models: models.map(({ model, parameters, source, statistics }) => ({
      name: model,
      parameters,
      source: open(source, workingDtype),
      ...(statistics ? { statistics: known(statistics) } : {}),
    })),
    base: base ? { parameters: base.parameters, source: open(base.source, workingDtype) } : undefined,
    sink,
    rng: new Rng(seed).split(name),
    totals,
  });
}

/** The stored tensor whose bytes are the result: integers, and what is only passed through. */
function copyOf({ method, models, base, dtype, workingDtype, name }: PlannedTensor): StoredTensor | undefined {
  const [first] = models;
  const origin = (base ?? first)?.source;
  if (origin?.kind === "stored" && !isFloatType(origin.dtype)) {
    if (origin.dtype !== dtype)
      throw new LfmError("DTYPE_UNSUPPORTED", `[@lfm/reuse] "${name}" is ${origin.dtype} and cannot become ${dtype}`);
    return origin;
  }
  const passes = method === "passthrough" && (first?.parameters.scale ?? 1) === 1 && first?.source.kind === "stored";
  if (!passes || first.source.kind !== "stored" || first.source.dtype !== dtype) return undefined;
  return workingDtype === undefined || workingDtype === dtype || bytesPerElement[workingDtype] > bytesPerElement[dtype]
    ? first.source
    : undefined;
}

function copyBytes({ file, position, dtype, shape }: StoredTensor, writer: ByteWriter, to: number, { io, moved }: MergeSetting): void {
  const reader = io.reader(file);
  const bytes = sizeOf(shape) * bytesPerElement[dtype];
  const buffer = new Uint8Array(Math.min(COPY, bytes));
  for (let at = 0; at < bytes; at += buffer.length) {
    const part = buffer.subarray(0, Math.min(buffer.length, bytes - at));
    reader.read(part, position + at);
    writer.write(part, to + at);
    moved(part.length, part.length);
  }
}

/** Narrows values to the tensor's dtype, in place, and writes them. */
function sinkFor({ dtype, name }: PlannedTensor, writer: ByteWriter, position: number, { moved }: MergeSetting): ValueSink {
  const width = bytesPerElement[dtype];
  return {
    write: (start, values) => {
      writer.write(narrowed(dtype, values, name), position + width * start);
      moved(0, width * values.length);
    },
  };
}

function narrowed(dtype: DType, values: Float32Array, name: string): Uint8Array {
  const k = kernels();
  const { byteOffset: at, length: n } = values;
  if (dtype === "f32") return k.bytes(at, 4 * n);
  if (dtype === "bf16" || dtype === "f16") {
    if (dtype === "bf16") k.fn.encodeBf16(at, at, n);
    else k.fn.encodeF16(at, at, n);
    return k.bytes(at, 2 * n);
  }
  if (dtype !== "f64" && !isSmallFloat(dtype))
    throw new LfmError("DTYPE_UNSUPPORTED", `[@lfm/reuse] "${name}" cannot be written as ${dtype}`);
  const { data } = convertFloat({ dtype: "f32", shape: [n], data: values.slice() }, dtype);
  return new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
}
