// SIMD kernels of merging over runs of numbers in linear memory. Pointers are byte addresses; n counts elements. Compiled by `npm run kernels`.
// Loops work on whole vectors; what is left over is finished one by one.

const MAGNITUDE: u32 = 0x7fffffff;
const INFINITE: u32 = 0x7f800000;

// ---- formats -------------------------------------------------------------------------------------------------------------------------

/** bf16 → f32. @returns 1 if there is a NaN */
export function decodeBf16(from: usize, to: usize, n: i32): i32 {
  let nan = i32x4.splat(0);
  let i = 0;
  for (; i + 8 <= n; i += 8) {
    const x = v128.load(from + (<usize>i << 1));
    const zero = i16x8.splat(0);
    const a = i8x16.shuffle(zero, x, 0, 1, 16, 17, 2, 3, 18, 19, 4, 5, 20, 21, 6, 7, 22, 23);
    const b = i8x16.shuffle(zero, x, 8, 9, 24, 25, 10, 11, 26, 27, 12, 13, 28, 29, 14, 15, 30, 31);
    v128.store(to + (<usize>i << 2), a);
    v128.store(to + (<usize>i << 2) + 16, b);
    nan = v128.or(nan, v128.or(f32x4.ne(a, a), f32x4.ne(b, b)));
  }
  let bad = v128.any_true(nan) ? 1 : 0;
  for (; i < n; i++) {
    const x = reinterpret<f32>(<u32>load<u16>(from + (<usize>i << 1)) << 16);
    store<f32>(to + (<usize>i << 2), x);
    if (x != x) bad = 1;
  }
  return bad;
}

/** f32 → bf16, to nearest, ties to even. */
export function encodeBf16(from: usize, to: usize, n: i32): void {
  let i = 0;
  for (; i + 8 <= n; i += 8) {
    const a = roundBf16Lanes(v128.load(from + (<usize>i << 2)));
    const b = roundBf16Lanes(v128.load(from + (<usize>i << 2) + 16));
    v128.store(to + (<usize>i << 1), i16x8.narrow_i32x4_u(a, b));
  }
  for (; i < n; i++) store<u16>(to + (<usize>i << 1), <u16>bf16Bits(load<f32>(from + (<usize>i << 2))));
}

/** Rounds to what bf16 can hold, in place. */
export function roundBf16(at: usize, n: i32): void {
  let i = 0;
  for (; i + 4 <= n; i += 4) {
    const p = at + (<usize>i << 2);
    v128.store(p, i32x4.shl(roundBf16Lanes(v128.load(p)), 16));
  }
  for (; i < n; i++) store<u32>(at + (<usize>i << 2), bf16Bits(load<f32>(at + (<usize>i << 2))) << 16);
}

@inline
function roundBf16Lanes(x: v128): v128 {
  const high = i32x4.shr_u(x, 16);
  const odd = v128.and(high, i32x4.splat(1));
  const rounded = i32x4.shr_u(i32x4.add(i32x4.add(x, i32x4.splat(0x7fff)), odd), 16);
  return v128.bitselect(v128.or(high, i32x4.splat(0x40)), rounded, f32x4.ne(x, x));
}

@inline
function bf16Bits(x: f32): u32 {
  const u = reinterpret<u32>(x);
  return x != x ? (u >> 16) | 0x40 : (u + 0x7fff + ((u >> 16) & 1)) >> 16;
}

/** f16 → f32. @returns 1 if there is a NaN */
export function decodeF16(from: usize, to: usize, n: i32): i32 {
  let nan = i32x4.splat(0);
  let i = 0;
  for (; i + 4 <= n; i += 4) {
    const x = f16Lanes(v128.load16x4_u(from + (<usize>i << 1)));
    v128.store(to + (<usize>i << 2), x);
    nan = v128.or(nan, f32x4.ne(x, x));
  }
  let bad = v128.any_true(nan) ? 1 : 0;
  for (; i < n; i++) {
    const x = f32x4.extract_lane(f16Lanes(i32x4.splat(<i32>load<u16>(from + (<usize>i << 1)))), 0);
    store<f32>(to + (<usize>i << 2), x);
    if (x != x) bad = 1;
  }
  return bad;
}

/** The exponent is moved by a multiplication, which makes subnormals right too; infinities and NaN get theirs set. */
@inline
function f16Lanes(h: v128): v128 {
  const sign = i32x4.shl(v128.and(h, i32x4.splat(0x8000)), 16);
  const rest = i32x4.shl(v128.and(h, i32x4.splat(0x7fff)), 13);
  const scaled = f32x4.mul(rest, f32x4.splat(reinterpret<f32>(0x77800000)));
  const special = i32x4.gt_s(rest, i32x4.splat(0x0f7fffff));
  const full = v128.or(rest, i32x4.splat(INFINITE));
  return v128.or(sign, v128.bitselect(full, scaled, special));
}

/** f32 → f16, to nearest, ties to even. */
export function encodeF16(from: usize, to: usize, n: i32): void {
  let i = 0;
  for (; i + 8 <= n; i += 8) {
    const a = f16BitLanes(v128.load(from + (<usize>i << 2)));
    const b = f16BitLanes(v128.load(from + (<usize>i << 2) + 16));
    v128.store(to + (<usize>i << 1), i16x8.narrow_i32x4_u(a, b));
  }
  for (; i < n; i++)
    store<u16>(to + (<usize>i << 1), <u16>i32x4.extract_lane(f16BitLanes(f32x4.splat(load<f32>(from + (<usize>i << 2)))), 0));
}

/** Rounds to what f16 can hold, in place. */
export function roundF16(at: usize, n: i32): void {
  let i = 0;
  for (; i + 4 <= n; i += 4) {
    const p = at + (<usize>i << 2);
    v128.store(p, f16Lanes(f16BitLanes(v128.load(p))));
  }
  for (; i < n; i++) {
    const p = at + (<usize>i << 2);
    store<f32>(p, f32x4.extract_lane(f16Lanes(f16BitLanes(f32x4.splat(load<f32>(p)))), 0));
  }
}

@inline
function f16BitLanes(x: v128): v128 {
  const sign = v128.and(x, i32x4.splat(0x80000000));
  const a = v128.xor(x, sign);
  // Normal numbers: exponent rebased, rounded on 13 bits; a carry into the exponent is right, up to infinity.
  const odd = v128.and(i32x4.shr_u(a, 13), i32x4.splat(1));
  const normal = i32x4.shr_u(i32x4.add(i32x4.add(a, i32x4.splat(0xc8000fff)), odd), 13);
  // Subnormal ones: adding 1/2 leaves the bits that f16 has at the bottom, rounded by the adder.
  const small = i32x4.sub(f32x4.add(a, f32x4.splat(0.5)), i32x4.splat(0x3f000000));
  const large = v128.bitselect(i32x4.splat(0x7e00), i32x4.splat(0x7c00), i32x4.gt_s(a, i32x4.splat(INFINITE)));
  const finite = v128.bitselect(small, normal, i32x4.lt_s(a, i32x4.splat(0x38800000)));
  const bits = v128.bitselect(large, finite, i32x4.gt_s(a, i32x4.splat(0x477fffff)));
  return v128.or(bits, i32x4.shr_u(sign, 16));
}

/** 1 if there is a NaN among f32 values. */
export function hasNaN(at: usize, n: i32): i32 {
  let nan = i32x4.splat(0);
  let i = 0;
  for (; i + 4 <= n; i += 4) {
    const x = v128.load(at + (<usize>i << 2));
    nan = v128.or(nan, f32x4.ne(x, x));
  }
  let bad = v128.any_true(nan) ? 1 : 0;
  for (; i < n; i++) {
    const x = load<f32>(at + (<usize>i << 2));
    if (x != x) bad = 1;
  }
  return bad;
}

// ---- arithmetic ----------------------------------------------------------------------------------------------------------------------

/** out = a · x */
export function scale(out: usize, x: usize, a: f32, n: i32): void {
  const va = f32x4.splat(a);
  let i = 0;
  for (; i + 4 <= n; i += 4) v128.store(out + (<usize>i << 2), f32x4.mul(v128.load(x + (<usize>i << 2)), va));
  for (; i < n; i++) store<f32>(out + (<usize>i << 2), load<f32>(x + (<usize>i << 2)) * a);
}

/** out += a · x */
export function addScaled(out: usize, x: usize, a: f32, n: i32): void {
  const va = f32x4.splat(a);
  let i = 0;
  for (; i + 4 <= n; i += 4) {
    const p = out + (<usize>i << 2);
    v128.store(p, f32x4.add(v128.load(p), f32x4.mul(v128.load(x + (<usize>i << 2)), va)));
  }
  for (; i < n; i++) {
    const p = out + (<usize>i << 2);
    store<f32>(p, load<f32>(p) + load<f32>(x + (<usize>i << 2)) * a);
  }
}

/**
 * out = Σ w·x, where `base` is 0; base + Σ w·(x − base) if `relative`; base + Σ w·x otherwise. xs: u32 addresses of k runs, ws: f32 weights.
 * Sums are taken in the order of the runs, the base comes last.
 */
export function combine(xs: usize, ws: usize, k: i32, base: usize, out: usize, n: i32, relative: i32): void {
  if (relative) combineRuns(xs, ws, k, base, out, n, true, true);
  else if (base) combineRuns(xs, ws, k, base, out, n, true, false);
  else combineRuns(xs, ws, k, base, out, n, false, false);
}

@inline
function combineRuns(xs: usize, ws: usize, k: i32, base: usize, out: usize, n: i32, based: bool, relative: bool): void {
  // −0 adds nothing, not even to −0.
  const nothing = f32x4.splat(-0.0);
  let i = 0;
  for (; i + 16 <= n; i += 16) {
    const at = <usize>i << 2;
    const b0 = based ? v128.load(base + at) : nothing;
    const b1 = based ? v128.load(base + at, 16) : nothing;
    const b2 = based ? v128.load(base + at, 32) : nothing;
    const b3 = based ? v128.load(base + at, 48) : nothing;
    let s0 = nothing;
    let s1 = nothing;
    let s2 = nothing;
    let s3 = nothing;
    for (let m = 0; m < k; m++) {
      const x = <usize>load<u32>(xs + (<usize>m << 2)) + at;
      const w = v128.load32_splat(ws + (<usize>m << 2));
      const x0 = v128.load(x);
      const x1 = v128.load(x, 16);
      const x2 = v128.load(x, 32);
      const x3 = v128.load(x, 48);
      s0 = f32x4.add(s0, f32x4.mul(relative ? f32x4.sub(x0, b0) : x0, w));
      s1 = f32x4.add(s1, f32x4.mul(relative ? f32x4.sub(x1, b1) : x1, w));
      s2 = f32x4.add(s2, f32x4.mul(relative ? f32x4.sub(x2, b2) : x2, w));
      s3 = f32x4.add(s3, f32x4.mul(relative ? f32x4.sub(x3, b3) : x3, w));
    }
    v128.store(out + at, based ? f32x4.add(s0, b0) : s0);
    v128.store(out + at, based ? f32x4.add(s1, b1) : s1, 16);
    v128.store(out + at, based ? f32x4.add(s2, b2) : s2, 32);
    v128.store(out + at, based ? f32x4.add(s3, b3) : s3, 48);
  }
  for (; i < n; i++) {
    const at = <usize>i << 2;
    const b: f32 = based ? load<f32>(base + at) : 0;
    let s: f32 = -0.0;
    for (let m = 0; m < k; m++) {
      const x = load<f32>(<usize>load<u32>(xs + (<usize>m << 2)) + at);
      s += (relative ? x - b : x) * load<f32>(ws + (<usize>m << 2));
    }
    store<f32>(out + at, based ? s + b : s);
  }
}

/** x -= y */
export function subtract(x: usize, y: usize, n: i32): void {
  let i = 0;
  for (; i + 4 <= n; i += 4) {
    const p = x + (<usize>i << 2);
    v128.store(p, f32x4.sub(v128.load(p), v128.load(y + (<usize>i << 2))));
  }
  for (; i < n; i++) {
    const p = x + (<usize>i << 2);
    store<f32>(p, load<f32>(p) - load<f32>(y + (<usize>i << 2)));
  }
}

/** Σ x·y in f64. */
export function dot(x: usize, y: usize, n: i32): f64 {
  let s = f64x2.splat(0);
  let t = f64x2.splat(0);
  let i = 0;
  for (; i + 4 <= n; i += 4) {
    const a = v128.load(x + (<usize>i << 2));
    const b = v128.load(y + (<usize>i << 2));
    s = f64x2.add(s, f64x2.mul(f64x2.promote_low_f32x4(a), f64x2.promote_low_f32x4(b)));
    const a2 = i8x16.shuffle(a, a, 8, 9, 10, 11, 12, 13, 14, 15, 8, 9, 10, 11, 12, 13, 14, 15);
    const b2 = i8x16.shuffle(b, b, 8, 9, 10, 11, 12, 13, 14, 15, 8, 9, 10, 11, 12, 13, 14, 15);
    t = f64x2.add(t, f64x2.mul(f64x2.promote_low_f32x4(a2), f64x2.promote_low_f32x4(b2)));
  }
  s = f64x2.add(s, t);
  let sum = f64x2.extract_lane(s, 0) + f64x2.extract_lane(s, 1);
  for (; i < n; i++) sum += <f64>load<f32>(x + (<usize>i << 2)) * <f64>load<f32>(y + (<usize>i << 2));
  return sum;
}

/** Σ |x| in f64. */
export function sumMagnitudes(x: usize, n: i32): f64 {
  let s = f64x2.splat(0);
  let i = 0;
  for (; i + 4 <= n; i += 4) {
    s = f64x2.add(s, halves(f32x4.abs(v128.load(x + (<usize>i << 2)))));
  }
  let sum = f64x2.extract_lane(s, 0) + f64x2.extract_lane(s, 1);
  for (; i < n; i++) sum += <f64>abs<f32>(load<f32>(x + (<usize>i << 2)));
  return sum;
}

// ---- selection by magnitude ----------------------------------------------------------------------------------------------------------

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

// ---- random dropping -----------------------------------------------------------------------------------------------------------------
// An element stays if its random number is below `keep` (of 2³²). The number depends on (key, key2, start + i) alone, so that neither chunks nor
// threads matter: murmur3's finalizer, keyed before and within.

/** x − base where an element stays, 0 elsewhere, in place of x. */
export function dropRandom(x: usize, base: usize, n: i32, start: u32, key: u32, key2: u32, keep: u32): void {
  let at = i32x4.add(i32x4.splat(<i32>start), i32x4(0, 1, 2, 3));
  let i = 0;
  for (; i + 4 <= n; i += 4) {
    const p = x + (<usize>i << 2);
    v128.store(p, v128.and(f32x4.sub(v128.load(p), v128.load(base + (<usize>i << 2))), stays(at, key, key2, keep)));
    at = i32x4.add(at, i32x4.splat(4));
  }
  for (; i < n; i++) {
    const p = x + (<usize>i << 2);
    const kept = i32x4.extract_lane(stays(i32x4.splat(<i32>start + i), key, key2, keep), 0);
    store<f32>(p, kept ? load<f32>(p) - load<f32>(base + (<usize>i << 2)) : 0);
  }
}

/** Second result of `sumDropped`. */
export let sumKept: f64 = 0;

/** Σ |x − base|, and in `sumKept` the same over the elements that stay. */
export function sumDropped(x: usize, base: usize, n: i32, start: u32, key: u32, key2: u32, keep: u32): f64 {
  let at = i32x4.add(i32x4.splat(<i32>start), i32x4(0, 1, 2, 3));
  let all = f64x2.splat(0);
  let left = f64x2.splat(0);
  let i = 0;
  // A few elements are added in f32 before they go into the sums in f64: that costs less and loses nothing that counts.
  for (; i + 32 <= n; i += 32) {
    let a = f32x4.splat(0);
    let b = f32x4.splat(0);
    for (let j = i; j < i + 32; j += 4) {
      const t = f32x4.abs(f32x4.sub(v128.load(x + (<usize>j << 2)), v128.load(base + (<usize>j << 2))));
      a = f32x4.add(a, t);
      b = f32x4.add(b, v128.and(t, stays(at, key, key2, keep)));
      at = i32x4.add(at, i32x4.splat(4));
    }
    all = f64x2.add(all, halves(a));
    left = f64x2.add(left, halves(b));
  }
  let everything: f64 = 0;
  let kept: f64 = 0;
  for (; i < n; i++) {
    const t = <f64>abs<f32>(load<f32>(x + (<usize>i << 2)) - load<f32>(base + (<usize>i << 2)));
    everything += t;
    if (i32x4.extract_lane(stays(i32x4.splat(<i32>start + i), key, key2, keep), 0)) kept += t;
  }
  sumKept = kept + f64x2.extract_lane(left, 0) + f64x2.extract_lane(left, 1);
  return everything + f64x2.extract_lane(all, 0) + f64x2.extract_lane(all, 1);
}

/** The sums of lanes 0 and 2, 1 and 3, in f64. */
@inline
function halves(a: v128): v128 {
  const high = i8x16.shuffle(a, a, 8, 9, 10, 11, 12, 13, 14, 15, 8, 9, 10, 11, 12, 13, 14, 15);
  return f64x2.add(f64x2.promote_low_f32x4(a), f64x2.promote_low_f32x4(high));
}

/** All ones in the lanes whose element stays. */
@inline
function stays(at: v128, key: u32, key2: u32, keep: u32): v128 {
  let h = v128.xor(at, i32x4.splat(<i32>key));
  h = v128.xor(h, i32x4.shr_u(h, 16));
  h = i32x4.add(i32x4.mul(h, i32x4.splat(0x85ebca6b)), i32x4.splat(<i32>key2));
  h = v128.xor(h, i32x4.shr_u(h, 13));
  h = i32x4.mul(h, i32x4.splat(0xc2b2ae35));
  h = v128.xor(h, i32x4.shr_u(h, 16));
  // Unsigned comparison through signed: both sides are shifted by 2³¹.
  return i32x4.lt_s(v128.xor(h, i32x4.splat(<i32>0x80000000)), i32x4.splat(<i32>(keep ^ 0x80000000)));
}

// ---- election of signs ---------------------------------------------------------------------------------------------------------------

/**
 * out = base + λ · (Σ of s·x that have the elected sign) / (Σ of their w, if `normalize`). xs: u32 addresses of k runs, ws and ss: f32 weights,
 * without and with what rescales a run. The sign is that of Σ s·x (`count` = 0) or of Σ sign(s·x); a tie is +.
 */
export function elect(xs: usize, ws: usize, ss: usize, k: i32, base: usize, out: usize, n: i32, lambda: f32, normalize: i32, count: i32): void {
  const zero = f32x4.splat(0);
  const one = f32x4.splat(1);
  const vl = f32x4.splat(lambda);
  const top = i32x4.splat(<i32>0x80000000);
  for (let i = 0; i < n; i += 4) {
    const whole = i + 4 <= n;
    let vote = zero;
    for (let m = 0; m < k; m++) {
      const x = f32x4.mul(lanes(<usize>load<u32>(xs + (<usize>m << 2)), i, n, whole), v128.load32_splat(ss + (<usize>m << 2)));
      const s = v128.bitselect(zero, v128.or(one, v128.and(x, top)), f32x4.eq(x, zero));
      vote = f32x4.add(vote, count ? s : x);
    }
    const minus = f32x4.lt(vote, zero);
    let sum = zero;
    let weight = zero;
    for (let m = 0; m < k; m++) {
      const w = v128.load32_splat(ws + (<usize>m << 2));
      const x = f32x4.mul(lanes(<usize>load<u32>(xs + (<usize>m << 2)), i, n, whole), v128.load32_splat(ss + (<usize>m << 2)));
      const agrees = v128.bitselect(f32x4.lt(x, zero), f32x4.gt(x, zero), minus);
      sum = f32x4.add(sum, v128.and(x, agrees));
      weight = f32x4.add(weight, v128.and(w, agrees));
    }
    if (normalize) sum = f32x4.div(sum, v128.bitselect(one, weight, f32x4.eq(weight, zero)));
    const y = f32x4.add(lanes(base, i, n, whole), f32x4.mul(sum, vl));
    if (whole) v128.store(out + (<usize>i << 2), y);
    else {
      store<f32>(out + (<usize>i << 2), f32x4.extract_lane(y, 0));
      if (i + 1 < n) store<f32>(out + (<usize>i << 2) + 4, f32x4.extract_lane(y, 1));
      if (i + 2 < n) store<f32>(out + (<usize>i << 2) + 8, f32x4.extract_lane(y, 2));
    }
  }
}

/** Four elements from i on; those past n are zero. */
@inline
function lanes(at: usize, i: i32, n: i32, whole: bool): v128 {
  const p = at + (<usize>i << 2);
  if (whole) return v128.load(p);
  let x = f32x4.splat(0);
  x = f32x4.replace_lane(x, 0, load<f32>(p));
  if (i + 1 < n) x = f32x4.replace_lane(x, 1, load<f32>(p + 4));
  if (i + 2 < n) x = f32x4.replace_lane(x, 2, load<f32>(p + 8));
  return x;
}
