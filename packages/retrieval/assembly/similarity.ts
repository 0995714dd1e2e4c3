// What a stored row is worth to a question: higher is nearer. A row of one kind is itself a question of that kind, but for PQ.

/** Rows and question f32[n]: inner product. */
export const F32_DOT: i32 = 0;
/** Rows and question f32[n]: negative squared distance. */
export const F32_L2: i32 = 1;
/** Rows and question of `quantize`: f32 scale, f32 squared norm, 8 bytes of nothing, i8[n] padded with zeros to 16. */
export const I8_DOT: i32 = 2;
export const I8_L2: i32 = 3;
/** Rows and question of `signs`: n bits; 1 − 2·(unequal bits)/n. */
export const BITS: i32 = 4;
/** Rows u8[n], question f32[n, 256]: the sum of the entries that the row names. */
export const TABLES: i32 = 5;

/** Bytes before the numbers of an i8 row. */
export const HEAD: usize = 16;

@inline
export function similarity(kind: i32, question: usize, row: usize, n: i32): f32 {
  if (kind == F32_DOT) return dot(question, row, n);
  if (kind == F32_L2) return 0 - squaredDistance(question, row, n);
  if (kind == I8_DOT) return load<f32>(question) * load<f32>(row) * <f32>dotBytes(question + HEAD, row + HEAD, n);
  if (kind == I8_L2) {
    const product = load<f32>(question) * load<f32>(row) * <f32>dotBytes(question + HEAD, row + HEAD, n);
    return min<f32>(0, 2 * product - load<f32>(question, 4) - load<f32>(row, 4));
  }
  if (kind == BITS) {
    const unequal: i32 = unequalBits(question, row, n) << 1;
    return 1 - <f32>unequal / <f32>n;
  }
  return sumOfTables(question, row, n);
}

/** Σ x·y: four sums of four, so that additions do not wait for each other. */
export function dot(x: usize, y: usize, n: i32): f32 {
  let a = f32x4.splat(0);
  let b = f32x4.splat(0);
  let c = f32x4.splat(0);
  let d = f32x4.splat(0);
  const end = x + (<usize>n << 2);
  const wide = x + (<usize>(n & ~15) << 2);
  while (x < wide) {
    a = f32x4.add(a, f32x4.mul(v128.load(x), v128.load(y)));
    b = f32x4.add(b, f32x4.mul(v128.load(x, 16), v128.load(y, 16)));
    c = f32x4.add(c, f32x4.mul(v128.load(x, 32), v128.load(y, 32)));
    d = f32x4.add(d, f32x4.mul(v128.load(x, 48), v128.load(y, 48)));
    x += 64;
    y += 64;
  }
  while (x + 16 <= end) {
    a = f32x4.add(a, f32x4.mul(v128.load(x), v128.load(y)));
    x += 16;
    y += 16;
  }
  let sum = sumOf(f32x4.add(f32x4.add(a, b), f32x4.add(c, d)));
  while (x < end) {
    sum += load<f32>(x) * load<f32>(y);
    x += 4;
    y += 4;
  }
  return sum;
}

/** Σ (x − y)² */
function squaredDistance(x: usize, y: usize, n: i32): f32 {
  let a = f32x4.splat(0);
  let b = f32x4.splat(0);
  let c = f32x4.splat(0);
  let d = f32x4.splat(0);
  const end = x + (<usize>n << 2);
  const wide = x + (<usize>(n & ~15) << 2);
  while (x < wide) {
    const p = f32x4.sub(v128.load(x), v128.load(y));
    const q = f32x4.sub(v128.load(x, 16), v128.load(y, 16));
    const r = f32x4.sub(v128.load(x, 32), v128.load(y, 32));
    const s = f32x4.sub(v128.load(x, 48), v128.load(y, 48));
    a = f32x4.add(a, f32x4.mul(p, p));
    b = f32x4.add(b, f32x4.mul(q, q));
    c = f32x4.add(c, f32x4.mul(r, r));
    d = f32x4.add(d, f32x4.mul(s, s));
    x += 64;
    y += 64;
  }
  while (x + 16 <= end) {
    const p = f32x4.sub(v128.load(x), v128.load(y));
    a = f32x4.add(a, f32x4.mul(p, p));
    x += 16;
    y += 16;
  }
  let sum = sumOf(f32x4.add(f32x4.add(a, b), f32x4.add(c, d)));
  while (x < end) {
    const p = load<f32>(x) - load<f32>(y);
    sum += p * p;
    x += 4;
    y += 4;
  }
  return sum;
}

@inline
function sumOf(a: v128): f32 {
  return (f32x4.extract_lane(a, 0) + f32x4.extract_lane(a, 1)) + (f32x4.extract_lane(a, 2) + f32x4.extract_lane(a, 3));
}

/** Σ x·y of i8, 16 at a time: what is behind n is zero. */
function dotBytes(x: usize, y: usize, n: i32): i32 {
  let a = i32x4.splat(0);
  let b = i32x4.splat(0);
  const end = x + <usize>n;
  while (x < end) {
    a = i32x4.add(a, i32x4.dot_i16x8_s(v128.load8x8_s(x), v128.load8x8_s(y)));
    b = i32x4.add(b, i32x4.dot_i16x8_s(v128.load8x8_s(x, 8), v128.load8x8_s(y, 8)));
    x += 16;
    y += 16;
  }
  a = i32x4.add(a, b);
  return i32x4.extract_lane(a, 0) + i32x4.extract_lane(a, 1) + i32x4.extract_lane(a, 2) + i32x4.extract_lane(a, 3);
}

function unequalBits(x: usize, y: usize, n: i32): i32 {
  const end = x + (<usize>(n + 7) >> 3);
  let count = 0;
  while (x + 8 <= end) {
    count += <i32>popcnt<u64>(load<u64>(x) ^ load<u64>(y));
    x += 8;
    y += 8;
  }
  while (x < end) {
    count += popcnt<i32>(<i32>(load<u8>(x) ^ load<u8>(y)));
    x++;
    y++;
  }
  return count;
}

function sumOfTables(tables: usize, row: usize, n: i32): f32 {
  let a: f32 = 0;
  let b: f32 = 0;
  let c: f32 = 0;
  let d: f32 = 0;
  let i = 0;
  for (; i + 4 <= n; i += 4) {
    const t = tables + (<usize>i << 10);
    const r = row + <usize>i;
    a += load<f32>(t + (<usize>load<u8>(r) << 2));
    b += load<f32>(t + (<usize>load<u8>(r, 1) << 2), 1024);
    c += load<f32>(t + (<usize>load<u8>(r, 2) << 2), 2048);
    d += load<f32>(t + (<usize>load<u8>(r, 3) << 2), 3072);
  }
  for (; i < n; i++) a += load<f32>(tables + (<usize>i << 10) + (<usize>load<u8>(row + <usize>i) << 2));
  return a + b + (c + d);
}
