import { grad } from "../autodiff.js";
import { compile } from "../compile.js";
import { f32, type HostTensor } from "../dtype.js";
import type { Engine } from "../engines/engine.js";
import { referenceEngine } from "../engines/reference.js";
import { add, isFloat, mul, square } from "../ops/elementwise.js";
import { sum } from "../ops/reduce.js";
import { Rng } from "../rng.js";
import { constant, type OpDef, Tensor } from "../tensor.js";
import type { OpSample } from "./op-samples.js";

/** Largest deviation of analytic derivatives from central differences, relative to the largest derivative. */
export interface GradientCheck {
  readonly first: number;
  readonly second: number;
}

/**
 * Checks d/dx of Σ w·y and of Σ (d/dx Σ w·y)² against central differences on the f64 reference, for every float input.
 */
export async function checkGradients(sample: OpSample): Promise<GradientCheck> {
  const engine = referenceEngine({ unrounded: true });
  const specs = sample.inputs.map((t) => ({ dtype: t.dtype, shape: t.shape }));
  const loss = (xs: readonly Tensor[]): Tensor => weightedSum(asList(sample.call(...xs)));
  const floats = sample.inputs.map((t, i) => (isFloat(t.dtype) ? i : -1)).filter((i) => i >= 0);
  const firstOf = (xs: readonly Tensor[]): Tensor[] =>
    grad(
      loss(xs),
      floats.map((i) => xs[i]!),
    );
  // Inputs also weigh in, so that the second derivative of a linear op is checked to be zero, not skipped.
  const penalty = (xs: readonly Tensor[]): Tensor =>
    firstOf(xs)
      .map((g, k) => sum(square(mul(g, constant(weights(sample.inputs[floats[k]!]!.shape, 3 + k))))))
      .reduce((a, b) => add(a, b));
  const f = await compile(engine, specs, (xs) => {
    const list = xs as readonly Tensor[];
    const second = penalty(list);
    return {
      value: loss(list),
      first: firstOf(list),
      penalty: second,
      second: grad(
        second,
        floats.map((i) => list[i]!),
      ),
    };
  });
  const at = await f(sample.inputs as never);
  const value = async (inputs: readonly HostTensor[]): Promise<[number, number]> => {
    const out = await f(inputs as never);
    return [out.value.data[0] as number, out.penalty.data[0] as number];
  };
  let [first, second] = [0, 0];
  for (const [k, i] of floats.entries()) {
    const analytic = [at.first[k]!, at.second[k]!].map((t) => t.data as Float64Array);
    const numeric = [new Float64Array(analytic[0]!.length), new Float64Array(analytic[0]!.length)];
    for (let j = 0; j < analytic[0]!.length; j++) {
      const h = 1e-3;
      const shifted = (by: number): HostTensor[] =>
        sample.inputs.map((t, m) => {
          if (m !== i) return t;
          const data = Float64Array.from(t.data as Float32Array);
          data[j] = data[j]! + by;
          return { ...t, data };
        });
      const [p1, m1, p2, m2] = [
        await value(shifted(h)),
        await value(shifted(-h)),
        await value(shifted(2 * h)),
        await value(shifted(-2 * h)),
      ];
      for (const o of [0, 1] as const) numeric[o]![j] = (8 * (p1[o] - m1[o]) - (p2[o] - m2[o])) / (12 * h);
    }
    first = Math.max(first, deviation(analytic[0]!, numeric[0]!));
    second = Math.max(second, deviation(analytic[1]!, numeric[1]!));
  }
  return { first, second };
}

/** Results are whole numbers or flags, or depend on no input: there is nothing to differentiate. */
const discrete = new Set("equal less lessEqual greater greaterEqual logicalAnd logicalOr logicalNot argMax iota dimScalar cast".split(" "));

/** True for an op with floating-point results that a gradient may be asked of. */
export function isDifferentiable(op: OpDef): boolean {
  return op.vjp !== undefined && !discrete.has(op.name);
}

/** Outputs of a sample and of its first and second derivatives on one engine, flat. */
export async function runSample(engine: Engine, sample: OpSample, derivatives: boolean, threads?: number): Promise<HostTensor[]> {
  const floats = sample.inputs.map((t, i) => (isFloat(t.dtype) ? i : -1)).filter((i) => i >= 0);
  const f = await compile(
    engine,
    sample.inputs.map((t) => ({ dtype: t.dtype, shape: t.shape })),
    (xs) => {
      const list = xs as readonly Tensor[];
      const ys = asList(sample.call(...list));
      if (!derivatives) return { ys };
      const gs = grad(
        weightedSum(ys),
        floats.map((i) => list[i]!),
      );
      const hs = grad(
        gs.map((g) => sum(square(g))).reduce((a, b) => add(a, b)),
        floats.map((i) => list[i]!),
      );
      return { ys, gs, hs };
    },
    threads ? { threads } : {},
  );
  try {
    return Object.values((await f(sample.inputs as never)) as unknown as Record<string, HostTensor[]>).flat();
  } finally {
    await f.dispose();
  }
}

/** max|a − b| / max|b|, absolute where b is tiny. */
export function deviation(a: ArrayLike<number>, b: ArrayLike<number>): number {
  let [error, scale] = [0, 0];
  for (let i = 0; i < b.length; i++) {
    error = Math.max(error, Math.abs(a[i]! - b[i]!));
    scale = Math.max(scale, Math.abs(b[i]!));
    if (Number.isNaN(a[i]!)) return Infinity;
  }
  return error / Math.max(scale, 1);
}

const asList = (y: Tensor | readonly Tensor[]): readonly Tensor[] => (y instanceof Tensor ? [y] : y);
const weights = (shape: readonly number[], seed: number): HostTensor =>
  f32(
    new Rng(seed).uniformArray(
      shape.reduce((a, b) => a * b, 1),
      0.5,
      1.5,
    ),
    shape,
  );

function weightedSum(ys: readonly Tensor[]): Tensor {
  return ys
    .filter((y) => isFloat(y.dtype))
    .map((y, i) => sum(mul(y, constant(weights(y.shape as number[], 100 + i)))))
    .reduce((a, b) => add(a, b));
}
