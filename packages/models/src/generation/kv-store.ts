import type { HostTensor } from "@lfm/core";

/** Positions are added in steps of this many, so that the buffers rarely move. */
const STEP = 64;

/** Shape of one layer's keys or values. */
export interface LayerShape {
  readonly kvHeads: number;
  readonly headDim: number;
}

/**
 * Keys and values of all layers in buffers with room to grow. A graph reads the whole buffer as its cache and masks what is not filled:
 * a step writes its own keys and values into place and nothing else is copied.
 */
export class KvStore {
  private rows: number;
  private readonly layers: readonly LayerShape[];
  private buffers: Float32Array[];
  private views: readonly HostTensor[];
  /** 1 where a position holds a real token, f32[batch, capacity]. */
  private keep: Float32Array;
  private room: number;
  private used = 0;

  constructor(batch: number, layers: readonly LayerShape[], capacity: number) {
    this.rows = batch;
    this.layers = layers;
    this.room = roundUp(capacity);
    this.buffers = this.allocate(this.room);
    this.views = this.viewsOf(this.buffers);
    this.keep = new Float32Array(batch * this.room);
  }

  get batch(): number {
    return this.rows;
  }

  get capacity(): number {
    return this.room;
  }

  /** Positions in use, filling included. */
  get length(): number {
    return this.used;
  }

  /** Key and value of each layer in turn, f32[batch, kvHeads, capacity, headDim]; views of the buffers, not copies. */
  tensors(): readonly HostTensor[] {
    return this.views;
  }

  /**
   * Writes the mask of the cache and of `seq` new positions.
   * @param keep f32[batch, seq] of the new positions
   * @param into f32[batch, capacity + seq]
   */
  mask(seq: number, keep: Float32Array, into: Float32Array): void {
    const width = this.room + seq;
    for (let b = 0; b < this.batch; b++) {
      into.set(this.keep.subarray(b * this.room, (b + 1) * this.room), b * width);
      for (let j = 0; j < seq; j++) into[b * width + this.room + j] = keep[b * seq + j]!;
    }
  }

  /**
   * Adds positions.
   * @param fresh keys and values of each layer in turn, f32[batch, kvHeads, count, headDim]
   * @param keep f32[batch, count]: 0 for padding
   */
  append(fresh: readonly HostTensor[], count: number, keep: Float32Array): void {
    this.reserve(this.used + count);
    fresh.forEach((t, i) => {
      const { kvHeads, headDim } = this.layers[i >> 1]!;
      copyRows(t.data as Float32Array, count, this.buffers[i]!, this.room, this.used, this.batch * kvHeads, headDim);
    });
    copyRows(keep, count, this.keep, this.room, this.used, this.batch, 1);
    this.used += count;
  }

  /** A position of one row that no longer counts. */
  hide(row: number, position: number): void {
    this.keep[row * this.room + position] = 0;
  }

  /** Forgets what stands from `positions` on. */
  truncate(positions: number): void {
    this.used = Math.min(this.used, positions);
    for (let b = 0; b < this.batch; b++) this.keep.fill(0, b * this.room + this.used, (b + 1) * this.room);
  }

  /** Row i becomes a copy of what was row `rows[i]`: rows are dropped, doubled, put in another order. */
  select(rows: readonly number[]): void {
    const from = this.buffers;
    const keep = this.keep;
    this.rows = rows.length;
    this.buffers = this.allocate(this.room);
    this.views = this.viewsOf(this.buffers);
    this.keep = new Float32Array(rows.length * this.room);
    rows.forEach((row, i) => {
      this.keep.set(keep.subarray(row * this.room, (row + 1) * this.room), i * this.room);
      this.buffers.forEach((to, k) => {
        const { kvHeads, headDim } = this.layers[k >> 1]!;
        const used = this.used * headDim;
        for (let h = 0; h < kvHeads; h++) {
          const [at, target] = [(row * kvHeads + h) * this.room * headDim, (i * kvHeads + h) * this.room * headDim];
          to.set(from[k]!.subarray(at, at + used), target);
        }
      });
    });
  }

  private reserve(positions: number): void {
    if (positions <= this.room) return;
    const room = roundUp(Math.max(positions, this.room + (this.room >> 1)));
    const moved = this.allocate(room);
    moved.forEach((data, i) => {
      const { kvHeads, headDim } = this.layers[i >> 1]!;
      copyRows(this.buffers[i]!, this.room, data, room, 0, this.batch * kvHeads, headDim);
    });
    const keep = new Float32Array(this.batch * room);
    copyRows(this.keep, this.room, keep, room, 0, this.batch, 1);
    [this.buffers, this.keep, this.room] = [moved, keep, room];
    this.views = this.viewsOf(moved);
  }

  private viewsOf(buffers: readonly Float32Array[]): readonly HostTensor[] {
    return buffers.map((data, i) => {
      const { kvHeads, headDim } = this.layers[i >> 1]!;
      return { dtype: "f32", shape: [this.batch, kvHeads, this.room, headDim], data };
    });
  }

  private allocate(room: number): Float32Array[] {
    return this.layers.flatMap(({ kvHeads, headDim }) => {
      const n = this.batch * kvHeads * room * headDim;
      return [new Float32Array(n), new Float32Array(n)];
    });
  }
}

function roundUp(n: number): number {
  return Math.max(1, Math.ceil(n / STEP)) * STEP;
}

/** Copies `rows` runs of `from` positions of `width` values into runs of `to` positions, from position `at` on. */
function copyRows(source: Float32Array, from: number, target: Float32Array, to: number, at: number, rows: number, width: number): void {
  for (let r = 0; r < rows; r++) target.set(source.subarray(r * from * width, (r + 1) * from * width), (r * to + at) * width);
}
