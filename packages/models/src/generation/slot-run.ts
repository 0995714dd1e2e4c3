import { allocate, f32, type HostTensor, i32, type TypedArray, zeros } from "@lfm/core";
import type { ExampleTensors } from "../named-batch.js";
import { cacheName, type DecoderRun } from "./decoder-run.js";
import type { LayerShape } from "./kv-store.js";
import { SlotCache } from "./slot-cache.js";
import type { StepProgram } from "./step-graph.js";

/** A sequence among others that are decoded together. */
export interface Slot {
  /** The token that the next step reads. */
  next: number;
  /** Its place among the tokens of the sequence. */
  position: number;
  /** What every step reads of it, by its name in the graph, one row each. */
  readonly fixed: ExampleTensors;
}

/** Sequences that are decoded together, a token each in every step, and that come and go between steps. */
export class SlotRun {
  private readonly program: StepProgram;
  private readonly layers: readonly LayerShape[];
  private readonly cache: SlotCache;
  private readonly slots: Slot[] = [];
  private buffers: Buffers | undefined;

  constructor(program: StepProgram, layers: readonly LayerShape[]) {
    this.program = program;
    this.layers = layers;
    this.cache = new SlotCache(layers);
  }

  get rows(): number {
    return this.slots.length;
  }

  /**
   * Takes in a sequence that was read alone.
   * @param read of one row
   * @param next the token that comes after what was read
   */
  enter(read: DecoderRun, next: number): Slot {
    const { tensors, length } = read.cached();
    this.cache.enter(tensors, length);
    const slot: Slot = { next, position: read.lengths()[0]!, fixed: read.fixedInputs() };
    this.slots.push(slot);
    this.buffers = undefined;
    return slot;
  }

  leave(slot: Slot): void {
    const row = this.slots.indexOf(slot);
    this.cache.leave(row);
    const last = this.slots.pop()!;
    if (last !== slot) this.slots[row] = last;
    this.buffers = undefined;
  }

  /**
   * Every sequence reads its next token.
   * @returns logits f32[vocab] of the token after it by slot: views that the next step overwrites
   */
  async step(width: number): Promise<ReadonlyMap<Slot, Float32Array>> {
    const { cache, slots } = this;
    this.buffers ??= new Buffers(slots, this.layers, width);
    const b = this.buffers;
    for (const [row, { next, position }] of slots.entries()) {
      b.tokens[row] = next;
      b.positions[row] = position;
    }
    await this.program.run(b.feeds(cache), b.into);
    cache.append(b.fresh);
    for (const slot of slots) slot.position++;
    return new Map(slots.map((slot, row) => [slot, b.logits.subarray(row * width, (row + 1) * width)]));
  }
}

/** What steps of the same rows feed and fill, kept from step to step: an engine wraps each buffer once. */
class Buffers {
  readonly tokens: Int32Array;
  readonly positions: Int32Array;
  readonly logits: Float32Array;
  /** Key and value of each layer at the new position. */
  readonly fresh: readonly HostTensor[];
  readonly into: Readonly<Record<string, HostTensor>>;
  private readonly named: Record<string, HostTensor>;
  private mask = new Float32Array(0);

  constructor(slots: readonly Slot[], layers: readonly LayerShape[], width: number) {
    const rows = slots.length;
    this.tokens = new Int32Array(rows);
    this.positions = new Int32Array(rows);
    this.logits = new Float32Array(rows * width);
    this.fresh = layers.flatMap(({ kvHeads, headDim }) => [zeros([rows, kvHeads, 1, headDim]), zeros([rows, kvHeads, 1, headDim])]);
    this.into = {
      "out/logits": f32(this.logits, [rows, width]),
      ...Object.fromEntries(this.fresh.map((t, i) => [`out/${cacheName(i)}`, t])),
    };
    this.named = {
      "in/tokens": i32(this.tokens, [rows, 1]),
      "in/positions": i32(this.positions, [rows, 1]),
      ...Object.fromEntries(Object.keys(slots[0]!.fixed).map((name) => [name, joinRows(slots.map(({ fixed }) => fixed[name]!))])),
    };
  }

  feeds(cache: SlotCache): Readonly<Record<string, HostTensor>> {
    const width = cache.capacity + 1;
    if (this.mask.length !== cache.rows * width) {
      this.mask = new Float32Array(cache.rows * width);
      this.named["in/mask"] = f32(this.mask, [cache.rows, width]);
    }
    cache.mask(this.mask);
    for (const [i, t] of cache.tensors().entries()) this.named[`in/${cacheName(i)}`] = t;
    return this.named;
  }
}

/** Tensors of one row each, under each other, filled up with zeros to the longest of each dimension. */
function joinRows(rows: readonly HostTensor[]): HostTensor {
  const widths = rows[0]!.shape.map((_, axis) => (axis === 0 ? 1 : Math.max(...rows.map((t) => t.shape[axis]!))));
  const size = widths.reduce((n, d) => n * d, 1);
  const data = allocate(rows[0]!.dtype, rows.length * size);
  for (const [i, row] of rows.entries()) place(row, 0, 0, 0, widths, data, i * size);
  return { dtype: rows[0]!.dtype, shape: [rows.length, ...widths.slice(1)], data };
}

/** Copies what lies in a tensor from an axis on, run by run. @returns where the next begins */
function place(t: HostTensor, axis: number, from: number, at: number, widths: readonly number[], data: TypedArray, to: number): number {
  if (axis >= t.shape.length - 1) {
    const width = t.shape.at(-1) ?? 1;
    for (let j = 0; j < width; j++) data[to + at + j] = t.data[from + j]!;
    return from + width;
  }
  const stride = widths.slice(axis + 1).reduce((n, d) => n * d, 1);
  let next = from;
  for (let k = 0; k < t.shape[axis]!; k++) next = place(t, axis + 1, next, at + k * stride, widths, data, to);
  return next;
}
