/** How far an input may be moved: every coordinate by ε, or all together by length ε. */
export type Norm = "inf" | "2";

/** Moves each row by the steepest step of this length: ε·sign(g), or ε·g/‖g‖₂. A row without gradient stays. moved, gradient — f32[rows · width] */
export function steepest(moved: Float32Array, gradient: Float32Array, width: number, epsilon: number, norm: Norm): Float32Array {
  const out = moved.slice();
  for (let from = 0; from < out.length; from += width) {
    const length = norm === "2" ? lengthOf(gradient, from, width) : 1;
    if (length === 0) continue;
    for (let i = from; i < from + width; i++)
      out[i] = out[i]! + epsilon * (norm === "inf" ? Math.sign(gradient[i]!) : gradient[i]! / length);
  }
  return out;
}

/** Brings each row back into the ball around 0, in place, and the inputs that it moves into their range. */
export function project(
  moved: Float32Array,
  width: number,
  epsilon: number,
  norm: Norm,
  values?: Float32Array,
  [low, high]: readonly [number, number] = [Number.NEGATIVE_INFINITY, Number.POSITIVE_INFINITY],
): Float32Array {
  for (let from = 0; from < moved.length; from += width) {
    const length = norm === "2" ? lengthOf(moved, from, width) : 0;
    const scale = length > epsilon ? epsilon / length : 1;
    for (let i = from; i < from + width; i++) {
      const v = norm === "2" ? moved[i]! * scale : Math.min(epsilon, Math.max(-epsilon, moved[i]!));
      moved[i] = values ? Math.min(high, Math.max(low, values[i]! + v)) - values[i]! : v;
    }
  }
  return moved;
}

function lengthOf(values: Float32Array, from: number, width: number): number {
  let squares = 0;
  for (let i = from; i < from + width; i++) squares += values[i]! ** 2;
  return Math.sqrt(squares);
}
