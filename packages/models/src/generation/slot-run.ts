import { f32, type HostTensor, i32, selectRows, zeros } from "@lfm/core";
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
  /** What hooks read of it, one row each. */
  readonly batch: ExampleTensors;
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
    const slot: Slot = { next, position: read.lengths()[0]!, batch: read.examples() };
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
      ...Object.fromEntries(
        Object.keys(slots[0]!.batch).map((name) => [`in/batch/${name}`, joinRows(slots.map(({ batch }) => batch[name]!))]),
      ),
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

/** Tensors of one row each, under each other. */
function joinRows(rows: readonly HostTensor[]): HostTensor {
  const joined = selectRows(rows[0]!, new Array<number>(rows.length).fill(0));
  const width = joined.data.length / rows.length;
  for (const [i, row] of rows.entries()) for (let j = 0; j < width; j++) joined.data[i * width + j] = row.data[j]!;
  return joined;
}
