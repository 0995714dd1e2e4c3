import { LfmError, type Rng } from "@lfm/core";
import type { MergeChunk, MergeTensor } from "./define-merge.js";

/** Values of one input of a tensor, as f32. */
export interface ValueSource {
  /** Fills `into` with the elements from `start` on. */
  read(start: number, into: Float32Array): void;
}

export interface ValueSink {
  /** Takes the elements from `start` on; may change `values`. */
  write(start: number, values: Float32Array): void;
}

/** f32 memory that chunks lie in. */
export interface Arena {
  /** Elements it can hold. */
  readonly capacity: number;
  /** An array of its memory, valid until the next {@link clear}. */
  take(length: number): Float32Array;
  clear(): void;
}

export interface TensorRunInputs {
  readonly name: string;
  readonly shape: readonly number[];
  readonly parameters: Readonly<Record<string, unknown>>;
  readonly models: readonly { readonly name: string; readonly parameters: Readonly<Record<string, unknown>>; readonly source: ValueSource }[];
  readonly base: { readonly parameters: Readonly<Record<string, unknown>> | undefined; readonly source: ValueSource } | undefined;
  readonly sink: ValueSink;
  readonly rng: Rng;
  readonly arena: Arena;
  /** Most elements of a chunk; larger ones do not pay once they leave the processor's cache. */
  readonly chunk: number;
  /** Called between chunks; throws to stop. */
  readonly check?: () => void;
}

/** Runs one tensor through a method: cuts it into chunks that fit the arena, or holds it whole where it is small, so that it is read once. */
export function tensorRun(inputs: TensorRunInputs): MergeTensor {
  const { shape, models, base, arena, sink, check } = inputs;
  const elements = shape.reduce((a, b) => a * b, 1);
  const sources = [...models.map((m) => m.source), ...(base ? [base.source] : [])];
  const streams = sources.length + 1;
  const empty = new Float32Array(0);

  const cut = (align: number): number => {
    const most = Math.floor(arena.capacity / streams / align) * align;
    if (most === 0 && elements > 0)
      throw new LfmError("BUDGET_EXCEEDED", `[@lfm/reuse] "${inputs.name}": ${align} elements of ${streams} tensors do not fit the memory that was granted`, {
        hint: `give at least ${Math.ceil((align * streams * 4) / 2 ** 20)} MiB per thread`,
      });
    return Math.min(most, Math.max(align, Math.floor(inputs.chunk / align) * align));
  };
  const visitAll = (align: number, each: (chunk: MergeChunk, out: Float32Array) => void): void => {
    const step = cut(align);
    arena.clear();
    const buffers = sources.map(() => arena.take(Math.min(step, elements)));
    const out = arena.take(Math.min(step, elements));
    for (let start = 0; start < elements; start += step) {
      check?.();
      const length = Math.min(step, elements - start);
      const views = buffers.map((b) => (b.length === length ? b : b.subarray(0, length)));
      for (const [i, source] of sources.entries()) source.read(start, views[i]!);
      each(
        { start, length, models: views.slice(0, models.length), base: base ? views.at(-1)! : empty },
        out.length === length ? out : out.subarray(0, length),
      );
    }
  };
  return {
    name: inputs.name,
    shape,
    elements,
    parameters: inputs.parameters,
    models,
    hasBase: base !== undefined,
    baseParameters: base?.parameters,
    rng: inputs.rng,
    read: (visit, align = 1) => visitAll(align, (chunk) => visit(chunk)),
    write: (visit, align = 1) =>
      visitAll(align, (chunk, out) => {
        visit(chunk, out);
        sink.write(chunk.start, out);
      }),
  };
}
