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
  readonly batch: number;
  private readonly layers: readonly LayerShape[];
  private buffers: Float32Array[];
  /** 1 where a position holds a real token, f32[batch, capacity]. */
  private keep: Float32Array;
  private room: number;
  private used = 0;

  constructor(batch: number, layers: readonly LayerShape[], capacity: number) {
    this.batch = batch;
    this.layers = layers;
    this.room = roundUp(capacity);
    this.buffers = this.allocate(this.room);
    this.keep = new Float32Array(batch * this.room);
  }

  get capacity(): number {
    return this.room;
  }

  /** Key and value of each layer in turn, f32[batch, kvHeads, capacity, headDim]; views of the buffers, not copies. */
  tensors(): HostTensor[] {
    return this.buffers.map((data, i) => {
      const { kvHeads, headDim } = this.layers[i >> 1]!;
      return { dtype: "f32", shape: [this.batch, kvHeads, this.room, headDim], data };
    });
  }

  /** Writes the mask of the cache and of `seq` new positions that all count into f32[batch, capacity + seq]. */
  mask(seq: number): Float32Array {
    const width = this.room + seq;
    const out = new Float32Array(this.batch * width).fill(1);
    for (let b = 0; b < this.batch; b++) out.set(this.keep.subarray(b * this.room, (b + 1) * this.room), b * width);
    return out;
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
