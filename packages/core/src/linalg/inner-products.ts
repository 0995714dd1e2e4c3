/** Vectors as rows, f32[count, width]. */
export interface Rows {
  readonly rows: Float32Array;
  readonly width: number;
}

/** gram[i, j] += ⟨row i of a, row j of b⟩, summed in f64. */
export function addInnerProducts(gram: Float64Array, count: number, a: Rows, b: Rows): void {
  const { width } = a;
  const strip = Math.max(1, Math.min(width, 2048));
  const even = count - (count % 2);
  const fours = count - (count % 4);
  for (let from = 0; from < width; from += strip) {
    const to = Math.min(width, from + strip);
    for (let i = 0; i < even; i += 2) {
      for (let j = 0; j < fours; j += 4) addBlock(gram, count, a.rows, b.rows, width, i, j, from, to);
      for (let j = fours; j < count; j++)
        for (const row of [i, i + 1]) gram[row * count + j]! += dot(a.rows, b.rows, row * width, j * width, from, to);
    }
    for (let i = even; i < count; i++)
      for (let j = 0; j < count; j++) gram[i * count + j]! += dot(a.rows, b.rows, i * width, j * width, from, to);
  }
}

/** Two rows by four columns at once: eight sums for six loads. */
function addBlock(
  gram: Float64Array,
  count: number,
  x: Float32Array,
  y: Float32Array,
  width: number,
  i: number,
  j: number,
  from: number,
  to: number,
): void {
  const [x0, x1] = [i * width, (i + 1) * width];
  const [y0, y1, y2, y3] = [j * width, (j + 1) * width, (j + 2) * width, (j + 3) * width];
  let a0 = 0;
  let a1 = 0;
  let a2 = 0;
  let a3 = 0;
  let b0 = 0;
  let b1 = 0;
  let b2 = 0;
  let b3 = 0;
  for (let k = from; k < to; k++) {
    const u = x[x0 + k]!;
    const v = x[x1 + k]!;
    const p = y[y0 + k]!;
    const q = y[y1 + k]!;
    const r = y[y2 + k]!;
    const s = y[y3 + k]!;
    a0 += u * p;
    a1 += u * q;
    a2 += u * r;
    a3 += u * s;
    b0 += v * p;
    b1 += v * q;
    b2 += v * r;
    b3 += v * s;
  }
  const at = i * count + j;
  gram[at]! += a0;
  gram[at + 1]! += a1;
  gram[at + 2]! += a2;
  gram[at + 3]! += a3;
  gram[at + count]! += b0;
  gram[at + count + 1]! += b1;
  gram[at + count + 2]! += b2;
  gram[at + count + 3]! += b3;
}

function dot(x: Float32Array, y: Float32Array, xAt: number, yAt: number, from: number, to: number): number {
  let sum = 0;
  for (let k = from; k < to; k++) sum += x[xAt + k]! * y[yAt + k]!;
  return sum;
}
