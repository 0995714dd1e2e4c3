import { f32, type HostTensor, i32, type ModelInfo, mix32 } from "@lfm/core";

/** Weights and tokens that both sides compute by the same integer hash (theirs/weights.py). */
function nameSeed(name: string): number {
  let h = 0;
  for (const ch of name) h = mix32(h + ch.codePointAt(0)! + 0x9e3779b9);
  return h >>> 0;
}

/** f32[n] in [−1, 1). */
export function uniform(name: string, n: number): Float32Array {
  const seed = nameSeed(name);
  return Float32Array.from({ length: n }, (_, i) => (mix32((i + seed) | 0) >>> 0) / 2 ** 31 - 1);
}

/** Matrices uniform of standard deviation .02, ones for norm scales, zeros for biases. */
export function filled(name: string, shape: readonly number[]): HostTensor {
  const n = shape.reduce((a, b) => a * b, 1);
  if (shape.length < 2) return f32(new Float32Array(n).fill(name.endsWith("weight") ? 1 : 0), shape);
  const scale = Math.fround(0.02 * 3 ** 0.5);
  return f32(
    uniform(name, n).map((v) => v * scale),
    shape,
  );
}

export function filledParams(info: ModelInfo): Record<string, HostTensor> {
  return Object.fromEntries(Object.entries(info.params).map(([name, { shape }]) => [name, filled(name, shape)]));
}

/** i32[batch, length] */
export function tokenBatch(step: number, batch: number, length: number, vocabulary: number): HostTensor {
  const seed = nameSeed(`tokens ${step}`);
  return i32(
    Int32Array.from({ length: batch * length }, (_, i) => (mix32((i + seed) | 0) >>> 0) % vocabulary),
    [batch, length],
  );
}
