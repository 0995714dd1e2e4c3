import { f32, type HostTensor, isFloatType, LfmError, loadWeight, type Weights, widenToF32 } from "@lfm/core";

/**
 * (1 − λ)·a + λ·b, f32; tensors of integers are those of `a`.
 * @param lambda 0 gives a, 1 gives b; values outside go on along the line
 * @throws {LfmError} PARAM_NOT_FOUND, SHAPE_MISMATCH
 */
export function interpolate(a: Weights, b: Weights, lambda: number): Record<string, HostTensor> {
  const extra = Object.keys(b).find((name) => !(name in a));
  if (extra !== undefined) throw new LfmError("PARAM_NOT_FOUND", `[@lfm/reuse] interpolate: the first model has no parameter "${extra}"`);
  return Object.fromEntries(
    Object.entries(a).map(([name, weight]) => {
      const other = b[name];
      if (!other) throw new LfmError("PARAM_NOT_FOUND", `[@lfm/reuse] interpolate: the second model has no parameter "${name}"`);
      if (other.shape.length !== weight.shape.length || other.shape.some((d, i) => d !== weight.shape[i]))
        throw new LfmError(
          "SHAPE_MISMATCH",
          `[@lfm/reuse] interpolate: "${name}" is [${weight.shape}] in one model and [${other.shape}] in the other`,
        );
      if (!isFloatType(weight.dtype)) return [name, loadWeight(weight)];
      const [x, y] = [weight, other].map((w) => widenToF32(loadWeight(w)).data as Float32Array);
      return [
        name,
        f32(
          x!.map((v, i) => (1 - lambda) * v + lambda * y![i]!),
          weight.shape,
        ),
      ];
    }),
  );
}

export interface CurvePoint {
  readonly lambda: number;
  readonly loss: number;
}

export interface CurveOptions {
  /** Points from 0 to 1, both included; odd counts hit ½. Default 25, as in Git Re-Basin's figures. */
  readonly points?: number;
  readonly onPoint?: (done: number, total: number) => void;
}

/** Loss along the straight line from `a` (λ = 0) to `b` (λ = 1). @throws {LfmError} CONFIG_INVALID for fewer than 2 points, and what `loss` throws */
export async function interpolationCurve(
  a: Weights,
  b: Weights,
  loss: (weights: Record<string, HostTensor>) => number | Promise<number>,
  options: CurveOptions = {},
): Promise<CurvePoint[]> {
  const { points = 25 } = options;
  if (!Number.isInteger(points) || points < 2)
    throw new LfmError("CONFIG_INVALID", `[@lfm/reuse] a curve has at least 2 points, got ${points}`);
  const curve: CurvePoint[] = [];
  for (let i = 0; i < points; i++) {
    const lambda = i / (points - 1);
    curve.push({ lambda, loss: await loss(interpolate(a, b, lambda)) });
    options.onPoint?.(i + 1, points);
  }
  return curve;
}

export interface Barrier {
  /** max over λ of L(λ) − ((1 − λ)·L(0) + λ·L(1)); 0 or less where the line is never above its ends (Frankle et al., arXiv 1912.05671). */
  readonly height: number;
  /** Where it is highest. */
  readonly lambda: number;
}

/** The loss barrier of a curve whose first point is at λ = 0 and whose last is at λ = 1. @throws {LfmError} CONFIG_INVALID */
export function lossBarrier(curve: readonly CurvePoint[]): Barrier {
  const [first, last] = [curve[0], curve.at(-1)];
  if (!first || !last || first.lambda !== 0 || last.lambda !== 1)
    throw new LfmError("CONFIG_INVALID", "[@lfm/reuse] a barrier is that of a curve from λ = 0 to λ = 1");
  const above = ({ lambda, loss }: CurvePoint): number => loss - ((1 - lambda) * first.loss + lambda * last.loss);
  return curve.reduce<Barrier>((top, p) => (above(p) > top.height ? { height: above(p), lambda: p.lambda } : top), {
    height: 0,
    lambda: 0,
  });
}
