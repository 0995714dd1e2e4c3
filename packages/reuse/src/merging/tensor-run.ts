import { LfmError, type Rng } from "@lfm/core";
import { kernels } from "./kernels.js";
import type { MergeChunk, MergeTensor } from "./merge-method.js";
import type { TensorStatistics, ValueSource } from "./tensor-statistics.js";

export interface ValueSink {
  /** Takes the elements from `start` on; may change `values`, which lie in the kernels' memory. */
  write(start: number, values: Float32Array): void;
}

export interface TensorRunInputs {
  readonly name: string;
  readonly shape: readonly number[];
  readonly parameters: Readonly<Record<string, unknown>>;
  readonly models: readonly {
    readonly name: string;
    readonly parameters: Readonly<Record<string, unknown>>;
    readonly source: ValueSource;
    readonly statistics?: TensorStatistics;
  }[];
  readonly base: { readonly parameters: Readonly<Record<string, unknown>> | undefined; readonly source: ValueSource } | undefined;
  readonly sink: ValueSink;
  readonly rng: Rng;
  readonly totals: readonly Float64Array[];
  /** Called between chunks; throws to stop. */
  readonly check?: () => void;
}

/** Elements of a chunk: few enough that the chunks of all inputs stay in the processor's cache, enough that a read is worth its call. */
const CHUNK = 1 << 15;

/** Runs one tensor through a method, cut into chunks. */
export function tensorRun(inputs: TensorRunInputs): MergeTensor {
  const { name, shape, models, base, sink, check } = inputs;
  const elements = shape.reduce((a, b) => a * b, 1);
  const sources = [...models.map((m) => m.source), ...(base ? [base.source] : [])];
  const empty = new Float32Array(0);

  const visitAll = (align: number, each: (chunk: MergeChunk, out: Float32Array) => void): void => {
    if (elements === 0) return;
    const k = kernels();
    const step = Math.min(Math.max(align, Math.floor(CHUNK / align) * align), elements);
    const aside = Math.max(0, ...sources.map((source) => source.room?.(step) ?? 0));
    const bytes = (sources.length + 1) * (4 * step + 16) + aside;
    if (bytes > k.free)
      throw new LfmError(
        "BUDGET_EXCEEDED",
        `[@lfm/reuse] "${name}": ${step} elements of ${sources.length + 1} tensors at once do not fit the memory that was granted`,
        { hint: `--max-memory: this method needs ${Math.ceil(bytes / 2 ** 20)} MiB for each thread here` },
      );
    const mark = k.mark();
    k.reserve(bytes);
    const buffers = sources.map(() => k.take(step));
    const whole = k.take(step);
    try {
      for (let start = 0; start < elements; start += step) {
        check?.();
        const length = Math.min(step, elements - start);
        const cut = (b: Float32Array): Float32Array => (length === step ? b : b.subarray(0, length));
        const views = buffers.map(cut);
        for (const [i, source] of sources.entries()) source.read(start, views[i]!);
        each({ start, length, models: views.slice(0, models.length), base: base ? views.at(-1)! : empty }, cut(whole));
      }
    } finally {
      k.release(mark);
    }
  };
  return {
    name,
    shape,
    elements,
    parameters: inputs.parameters,
    models,
    hasBase: base !== undefined,
    baseParameters: base?.parameters,
    rng: inputs.rng,
    totals: inputs.totals,
    read: (visit, align = 1) => visitAll(align, (chunk) => visit(chunk)),
    write: (visit, align = 1) =>
      visitAll(align, (chunk, out) => {
        visit(chunk, out);
        sink.write(chunk.start, out);
      }),
  };
}
