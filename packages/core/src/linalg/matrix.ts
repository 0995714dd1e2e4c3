/** A dense matrix in f64, row-major. */
export interface Matrix {
  readonly rows: number;
  readonly columns: number;
  readonly data: Float64Array;
}

/** A matrix over `data` where that is an f64 array, else over a copy of it; of zeros by default. */
export function matrix(rows: number, columns: number, data: ArrayLike<number> = { length: rows * columns }): Matrix {
  return { rows, columns, data: data instanceof Float64Array ? data : Float64Array.from(data, (v) => v ?? 0) };
}

export function identity(n: number): Matrix {
  const out = matrix(n, n);
  for (let i = 0; i < n; i++) out.data[i * n + i] = 1;
  return out;
}

/** Row i, over the same memory. */
export function row({ columns, data }: Matrix, i: number): Float64Array {
  return data.subarray(i * columns, (i + 1) * columns);
}

/** The first `rows` rows, over the same memory. */
export function firstRows(a: Matrix, rows: number): Matrix {
  return { rows, columns: a.columns, data: a.data.subarray(0, rows * a.columns) };
}

export function transpose(a: Matrix): Matrix {
  const out = matrix(a.columns, a.rows);
  for (let i = 0; i < a.rows; i++) for (let j = 0; j < a.columns; j++) out.data[j * a.rows + i] = a.data[i * a.columns + j]!;
  return out;
}

/** A·B */
export function times(a: Matrix, b: Matrix): Matrix {
  const out = matrix(a.rows, b.columns);
  // Row by row of B, so that a large B is read once and in order.
  for (let k = 0; k < b.rows; k++) {
    const from = row(b, k);
    for (let i = 0; i < a.rows; i++) {
      const f = a.data[i * a.columns + k]!;
      if (f === 0) continue;
      const to = row(out, i);
      for (let j = 0; j < to.length; j++) to[j] = to[j]! + f * from[j]!;
    }
  }
  return out;
}

/** A·Bᵀ */
export function timesTransposed(a: Matrix, b: Matrix): Matrix {
  const out = matrix(a.rows, b.rows);
  for (let i = 0; i < a.rows; i++) for (let j = 0; j < b.rows; j++) out.data[i * b.rows + j] = dot(row(a, i), row(b, j));
  return out;
}

/** Σ xᵢyᵢ of vectors of one length. */
export function dot(x: Float64Array, y: Float64Array): number {
  let [s, t] = [0, 0];
  let i = 0;
  for (; i + 1 < x.length; i += 2) {
    s += x[i]! * y[i]!;
    t += x[i + 1]! * y[i + 1]!;
  }
  return s + t + (i < x.length ? x[i]! * y[i]! : 0);
}
