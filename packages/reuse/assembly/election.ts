// Election of signs.

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
