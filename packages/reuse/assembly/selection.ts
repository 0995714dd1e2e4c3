// Selection by magnitude.

const MAGNITUDE: u32 = 0x7fffffff;

/** counts[|x|'s bits 30..15]++; u32 counts[65536]. */
export function countHigh(x: usize, n: i32, counts: usize): void {
  for (let i = 0; i < n; i++) {
    const p = counts + ((<usize>(load<u32>(x + (<usize>i << 2)) & MAGNITUDE) >> 15) << 2);
    store<u32>(p, load<u32>(p) + 1);
  }
}

/** counts[|x|'s bits 14..0]++ for the magnitudes whose bits 30..15 are `high`; u32 counts[32768]. */
export function countLow(x: usize, n: i32, high: i32, counts: usize): void {
  const wanted = i32x4.splat(high);
  let i = 0;
  for (; i + 4 <= n; i += 4) {
    const u = v128.load(x + (<usize>i << 2));
    if (v128.any_true(i32x4.eq(i32x4.shr_u(i32x4.shl(u, 1), 16), wanted))) for (let j = i; j < i + 4; j++) countOne(x, j, high, counts);
  }
  for (; i < n; i++) countOne(x, i, high, counts);
}

@inline
function countOne(x: usize, i: i32, high: i32, counts: usize): void {
  const u = load<u32>(x + (<usize>i << 2)) & MAGNITUDE;
  if (<i32>(u >> 15) != high) return;
  const p = counts + (<usize>(u & 0x7fff) << 2);
  store<u32>(p, load<u32>(p) + 1);
}

/** Keeps magnitudes whose bits are above `limit`, and the first `equal` of those that are at it; zeroes the others. @returns what is left of `equal` */
export function keepAbove(x: usize, n: i32, limit: u32, equal: f64): f64 {
  const vl = i32x4.splat(<i32>limit);
  const mask = i32x4.splat(MAGNITUDE);
  let left = equal;
  let i = 0;
  for (; i + 4 <= n; i += 4) {
    const p = x + (<usize>i << 2);
    const v = v128.load(p);
    const u = v128.and(v, mask);
    if (v128.any_true(i32x4.eq(u, vl))) {
      for (let j = 0; j < 4; j++) left = keepOne(p + (<usize>j << 2), limit, left);
    } else v128.store(p, v128.and(v, i32x4.gt_s(u, vl)));
  }
  for (; i < n; i++) left = keepOne(x + (<usize>i << 2), limit, left);
  return left;
}

@inline
function keepOne(p: usize, limit: u32, left: f64): f64 {
  const u = load<u32>(p) & MAGNITUDE;
  if (u > limit) return left;
  if (u == limit && left > 0) return left - 1;
  store<f32>(p, 0);
  return left;
}
