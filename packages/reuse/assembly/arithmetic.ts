// Sums, differences and norms of runs.

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

/** The sums of lanes 0 and 2, 1 and 3, in f64. */
@inline
export function halves(a: v128): v128 {
  const high = i8x16.shuffle(a, a, 8, 9, 10, 11, 12, 13, 14, 15, 8, 9, 10, 11, 12, 13, 14, 15);
  return f64x2.add(f64x2.promote_low_f32x4(a), f64x2.promote_low_f32x4(high));
}
