/** Update rules with the defaults and the order of operations of torch.optim 2.x. */
import type { HostTensor } from "../dtype.js";
import { add, div, maximum, minimum, mul, pow, sign, sqrt, square, sub, tanh } from "../ops/elementwise.js";
import { mean, sum } from "../ops/reduce.js";

import type { Tensor } from "../tensor.js";
import { elementwiseOptimizer, type Optimizer, type OptimizerState, type StepScalars } from "./optimizer.js";

export interface WeightDecay {
  /** Decoupled decay per unit of learning rate. */
  readonly weightDecay?: number;
  /** Which parameters decay; default all. */
  readonly decays?: (name: string) => boolean;
}

const decayOf = (o: WeightDecay, name: string): number => (o.weightDecay && (o.decays?.(name) ?? true) ? o.weightDecay : 0);

/** p·(1 − lr·wd), recorded only where there is decay. */
function decayed(p: Tensor, lr: Tensor, wd: number): Tensor {
  return wd === 0 ? p : mul(p, sub(1, mul(lr, wd)));
}

/** p ← p − lr·g (weight decay is L2, as in torch.optim.SGD). */
export function sgd(options: WeightDecay = {}): Optimizer {
  return elementwiseOptimizer("sgd", [], (p, g, _s, { lr }, name) => ({
    p: sub(p, mul(withL2(p, g, decayOf(options, name)), lr)),
    slots: {},
  }));
}

/** b ← μ·b + g; p ← p − lr·b (or g + μ·b with nesterov). */
export function momentum(options: WeightDecay & { readonly momentum?: number; readonly nesterov?: boolean } = {}): Optimizer {
  const mu = options.momentum ?? 0.9;
  return elementwiseOptimizer("momentum", ["b"], (p, g0, { b }, { lr }, name) => {
    const g = withL2(p, g0, decayOf(options, name));
    const next = add(mul(b, mu), g);
    return { p: sub(p, mul(options.nesterov ? add(g, mul(next, mu)) : next, lr)), slots: { b: next } };
  });
}

function withL2(p: Tensor, g: Tensor, wd: number): Tensor {
  return wd === 0 ? g : add(g, mul(p, wd));
}

export interface AdamOptions extends WeightDecay {
  readonly beta1?: number;
  readonly beta2?: number;
  readonly epsilon?: number;
}

/**
 * AdamW (arXiv 1711.05101); weightDecay 0 is Adam.
 * The bias corrections are folded into two scalars, so that a step costs few passes over memory.
 */
export function adamw(options: AdamOptions = {}): Optimizer {
  const { beta1 = 0.9, beta2 = 0.999, epsilon = 1e-8 } = options;
  return elementwiseOptimizer("adamw", ["m", "v"], (p, g, { m, v }, { lr, step }, name) => {
    const correction2 = sqrt(biasCorrection(beta2, step));
    const rate = div(mul(lr, correction2), biasCorrection(beta1, step));
    const m1 = add(mul(m, beta1), mul(g, 1 - beta1));
    const v1 = add(mul(v, beta2), mul(square(g), 1 - beta2));
    const direction = div(mul(m1, rate), add(sqrt(v1), mul(correction2, epsilon)));
    return { p: sub(decayed(p, lr, decayOf(options, name)), direction), slots: { m: m1, v: v1 } };
  });
}

/**
 * 1 − βᵗ = 1 − e⁻²ᵘ with u = −t·ln β / 2, as 2·tanh u / (1 + tanh u): the plain difference would cancel 3 of the 7 digits of f32 for
 * β = 0.999 and small t.
 */
function biasCorrection(beta: number, step: Tensor): Tensor {
  const t = tanh(mul(step, -Math.log(beta) / 2));
  return div(mul(t, 2), add(t, 1));
}

/** Adam without weight decay. */
export function adam(options: Omit<AdamOptions, keyof WeightDecay> = {}): Optimizer {
  return adamw({ ...options, weightDecay: 0 });
}

/** Lion (arXiv 2302.06675): the sign of an interpolated momentum. */
export function lion(options: WeightDecay & { readonly beta1?: number; readonly beta2?: number } = {}): Optimizer {
  const { beta1 = 0.9, beta2 = 0.99 } = options;
  return elementwiseOptimizer("lion", ["m"], (p, g, { m }, { lr }, name) => ({
    p: sub(decayed(p, lr, decayOf(options, name)), mul(sign(add(mul(m, beta1), mul(g, 1 - beta1))), lr)),
    slots: { m: add(mul(m, beta2), mul(g, 1 - beta2)) },
  }));
}

/**
 * Adafactor as torch.optim.Adafactor: second moments of matrices are kept as a row and a column,
 * lr is relative to the parameter's RMS, updates are clipped to RMS d = 1.
 */
export function adafactor(
  options: WeightDecay & { readonly beta2Decay?: number; readonly epsilon2?: number; readonly clip?: number } = {},
): Optimizer {
  const { beta2Decay = -0.8, epsilon2 = 1e-3, clip = 1 } = options;
  const epsilon1 = 2 ** -23;
  const tensor = (shape: readonly number[]): HostTensor => ({
    dtype: "f32",
    shape,
    data: new Float32Array(shape.reduce((a, b) => a * b, 1)),
  });
  const rms = (x: Tensor): Tensor => sqrt(mean(square(x)));
  return {
    name: "adafactor",
    init: (params) => {
      const state: Record<"row" | "column" | "full", Record<string, HostTensor>> = { row: {}, column: {}, full: {} };
      for (const [k, p] of Object.entries(params)) {
        if (p.shape.length < 2) state.full[k] = tensor(p.shape);
        else {
          state.row[k] = tensor([...p.shape.slice(0, -1), 1]);
          state.column[k] = tensor([...p.shape.slice(0, -2), 1, p.shape.at(-1)!]);
        }
      }
      return state;
    },
    update: <K extends string>(
      params: Readonly<Record<K, Tensor>>,
      grads: Readonly<Record<K, Tensor>>,
      state: OptimizerState<Tensor>,
      { lr, step }: StepScalars,
    ) => {
      const next = {} as Record<K, Tensor>;
      const nextState: Record<"row" | "column" | "full", Record<string, Tensor>> = { row: {}, column: {}, full: {} };
      for (const k of Object.keys(params) as K[]) {
        const [p, g] = [params[k], grads[k]];
        const mix = pow(step, beta2Decay);
        const rho = minimum(lr, div(1, sqrt(step)));
        const alpha = mul(maximum(rms(p), epsilon2), rho);
        const lerp = (old: Tensor, x: Tensor): Tensor => add(old, mul(sub(x, old), mix));
        let estimate: Tensor;
        if (p.rank < 2) {
          estimate = lerp(state.full![k]!, square(g));
          nextState.full[k] = estimate;
        } else {
          const row = lerp(state.row![k]!, mean(square(g), -1, { keepDims: true }));
          const column = lerp(state.column![k]!, mean(square(g), -2, { keepDims: true }));
          [nextState.row[k], nextState.column[k]] = [row, column];
          estimate = div(mul(row, column), maximum(mean(row, -2, { keepDims: true }), epsilon1));
        }
        const update = div(g, sqrt(maximum(estimate, epsilon1 * epsilon1)));
        const scale = div(alpha, maximum(1, div(rms(update), clip)));
        next[k] = sub(decayed(p, lr, decayOf(options, k)), mul(update, scale));
      }
      return { params: next, state: nextState };
    },
  };
}

/** Scales all gradients together so that their joint norm is at most `maxNorm`; returns the norm before. */
export function clipByGlobalNorm(
  grads: Readonly<Record<string, Tensor>>,
  maxNorm: number,
): { readonly grads: Record<string, Tensor>; readonly norm: Tensor } {
  const norm = sqrt(
    Object.values(grads)
      .map((g) => sum(square(g)))
      .reduce((a, b) => add(a, b)),
  );
  const scale = minimum(1, div(maxNorm, add(norm, 1e-6)));
  return { norm, grads: Object.fromEntries(Object.entries(grads).map(([k, g]) => [k, mul(g, scale)])) };
}
