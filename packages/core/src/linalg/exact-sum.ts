/**
 * Sums of floating point numbers that do not depend on their order: a number is cut into digits of 32 bits, and digits of one place are added
 * as whole numbers, which f64 does without rounding (up to 2²¹ numbers).
 */

/** Places of a number, from 2⁻⁴⁸⁰ to 2⁴⁸⁰: all that sums of squares of f32 can be. */
export const DIGITS = 30;
const unit = (place: number): number => 2 ** (32 * (place - DIGITS / 2));

/** Adds a number ≥ 0 to digits, f64[DIGITS]. */
export function addDigits(digits: Float64Array, value: number): void {
  let rest = value;
  for (let place = DIGITS - 1; place >= 0 && rest > 0; place--) {
    const digit = Math.floor(rest / unit(place));
    digits[place] = digits[place]! + digit;
    rest -= digit * unit(place);
  }
}

/** The number that digits stand for, rounded. */
export function fromDigits(digits: Float64Array): number {
  let value = 0;
  for (let place = DIGITS - 1; place >= 0; place--) value += digits[place]! * unit(place);
  return value;
}
