/**
 * Rows of one width, that more are put behind: a value, never changed, yet as a rule nothing is copied. Buffers have room for twice as many rows,
 * and what is put behind the last row of a buffer lies in it, beyond the end of all that were handed out before.
 */
export class GrowingRows {
  readonly count: number;
  readonly width: number;
  private readonly buffer: Buffer;

  private constructor(buffer: Buffer, count: number, width: number) {
    this.buffer = buffer;
    this.count = count;
    this.width = width;
  }

  /** @param rows f32[count, width], copied */
  static of(rows: Float32Array, width: number): GrowingRows {
    const count = rows.length / width;
    const buffer = new Buffer(Math.max(1, count) * width);
    buffer.put(rows, 0);
    return new GrowingRows(buffer, count, width);
  }

  /** f32[count, width]: a view, that later rows do not reach. */
  get data(): Float32Array {
    return this.buffer.data.subarray(0, this.count * this.width);
  }

  /** f32[width]: a view. */
  row(i: number): Float32Array {
    return this.buffer.data.subarray(i * this.width, (i + 1) * this.width);
  }

  with(row: Float32Array): GrowingRows {
    const end = this.count * this.width;
    const shared = this.buffer.used === end && end + this.width <= this.buffer.data.length;
    const buffer = shared ? this.buffer : new Buffer(2 * (end + this.width));
    if (!shared) buffer.put(this.data, 0);
    buffer.put(row, end);
    return new GrowingRows(buffer, this.count + 1, this.width);
  }

  /** Another row in the place of one: a copy. */
  replaced(i: number, row: Float32Array): GrowingRows {
    const copy = GrowingRows.of(this.data, this.width);
    copy.buffer.data.set(row, i * this.width);
    return copy;
  }
}

class Buffer {
  readonly data: Float32Array;
  used = 0;

  constructor(size: number) {
    this.data = new Float32Array(size);
  }

  put(values: Float32Array, at: number): void {
    this.data.set(values, at);
    this.used = at + values.length;
  }
}
