import { halves } from "./arithmetic";

// Random dropping. An element stays if its random number is below `keep` (of 2³²). The number depends on (key, key2, start + i) alone, so that
// neither chunks nor threads matter: murmur3's finalizer, keyed before and within.

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
