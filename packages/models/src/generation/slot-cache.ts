import type { HostTensor } from "@lfm/core";
import type { LayerShape } from "./kv-store.js";

/** Room is given in steps of this many positions: every step of decoding reads all of it, and moves it once in so many steps at most. */
const STEP = 64;

/**
 * Keys and values of sequences that come and go, each with its own length: rows stand without gaps, so that a graph reads the first of them as
 * its batch. Whoever comes is the last row, and when one goes the last takes its place: at most one row is copied, the others stay.
 */
export class SlotCache {
  private readonly layers: readonly LayerShape[];
  /** Positions in use of each row. */
  private readonly used: number[] = [];
  private slots = 0;
  private room = 0;
  private buffers: readonly Float32Array[] = [];
  private views: readonly HostTensor[] | undefined;

  constructor(layers: readonly LayerShape[]) {
    this.layers = layers;
  }

  get rows(): number {
    return this.used.length;
  }

  /** Positions that each row has room for. */
  get capacity(): number {
    return this.room;
  }

  /** Key and value of each layer in turn, f32[rows, kvHeads, capacity, headDim]; views of the buffers, the same until rows or room change. */
  tensors(): readonly HostTensor[] {
    this.views ??= this.buffers.map((data, i) => {
      const { kvHeads, headDim } = this.layers[i >> 1]!;
      const shape = [this.rows, kvHeads, this.room, headDim];
      return { dtype: "f32", shape, data: data.subarray(0, this.rows * kvHeads * this.room * headDim) };
    });
    return this.views;
  }

  /** Writes the mask of the cache and of one new position of every row. into — f32[rows, capacity + 1] */
  mask(into: Float32Array): void {
    const width = this.room + 1;
    into.fill(0);
    for (const [row, used] of this.used.entries()) {
      into.fill(1, row * width, row * width + used);
      into[row * width + this.room] = 1;
    }
  }

  /**
   * Takes in a sequence as the last row.
   * @param from keys and values of each layer in turn, f32[1, kvHeads, any, headDim], of which the first `length` positions are filled
   */
  enter(from: readonly HostTensor[], length: number): void {
    const row = this.rows;
    // One more, for the position that the next step adds.
    this.reserve(row + 1, length + 1);
    this.used.push(length);
    this.views = undefined;
    for (const [i, t] of from.entries()) {
      const { kvHeads, headDim } = this.layers[i >> 1]!;
      const source = t.data as Float32Array;
      const positions = t.shape[2]!;
      for (let h = 0; h < kvHeads; h++)
        this.buffers[i]!.set(
          source.subarray(h * positions * headDim, (h * positions + length) * headDim),
          (row * kvHeads + h) * this.room * headDim,
        );
    }
  }

  /** Drops a row: the last one takes its place. */
  leave(row: number): void {
    const last = this.rows - 1;
    const length = this.used[last]!;
    if (row !== last) {
      this.used[row] = length;
      for (const [i, data] of this.buffers.entries()) {
        const { kvHeads, headDim } = this.layers[i >> 1]!;
        for (let h = 0; h < kvHeads; h++) {
          const from = (last * kvHeads + h) * this.room * headDim;
          data.copyWithin((row * kvHeads + h) * this.room * headDim, from, from + length * headDim);
        }
      }
    }
    this.used.pop();
    this.views = undefined;
    const longest = Math.max(0, ...this.used) + 1;
    // What a longer one took up is given back.
    if (this.rows === 0) [this.slots, this.room, this.buffers] = [0, 0, []];
    else if (roundUp(longest) < this.room) this.resize(this.slots, roundUp(longest));
  }

  /** Adds a position to every row. fresh — keys and values of each layer in turn, f32[rows, kvHeads, 1, headDim] */
  append(fresh: readonly HostTensor[]): void {
    for (const [i, t] of fresh.entries()) {
      const { kvHeads, headDim } = this.layers[i >> 1]!;
      const [source, target] = [t.data as Float32Array, this.buffers[i]!];
      for (const [row, used] of this.used.entries())
        for (let h = 0; h < kvHeads; h++) {
          const at = row * kvHeads + h;
          target.set(source.subarray(at * headDim, (at + 1) * headDim), (at * this.room + used) * headDim);
        }
    }
    let longest = 0;
    for (let row = 0; row < this.rows; row++) longest = Math.max(longest, ++this.used[row]!);
    this.reserve(this.rows, longest + 1);
  }

  private reserve(slots: number, positions: number): void {
    if (slots <= this.slots && positions <= this.room) return;
    this.resize(slots <= this.slots ? this.slots : Math.max(slots, 2 * this.slots), Math.max(this.room, roundUp(positions)));
  }

  /** The same rows in buffers of another size. */
  private resize(slots: number, room: number): void {
    this.buffers = this.layers.flatMap(({ kvHeads, headDim }, layer) =>
      [0, 1].map((part) => {
        const moved = new Float32Array(slots * kvHeads * room * headDim);
        const before = this.buffers[2 * layer + part];
        for (const [row, used] of this.used.entries())
          for (let at = row * kvHeads; at < (row + 1) * kvHeads; at++)
            moved.set(before!.subarray(at * this.room * headDim, (at * this.room + used) * headDim), at * room * headDim);
        return moved;
      }),
    );
    [this.slots, this.room, this.views] = [slots, room, undefined];
  }
}

function roundUp(n: number): number {
  return Math.ceil(n / STEP) * STEP;
}
