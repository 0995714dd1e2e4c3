// What files hold ↔ f32.

const INFINITE: u32 = 0x7f800000;

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
