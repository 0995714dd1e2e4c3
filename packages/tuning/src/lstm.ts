import {
  add,
  concat,
  constant,
  f32,
  type HostTensor,
  linear,
  mul,
  type ParamTree,
  type Rng,
  sigmoid,
  slice,
  split,
  type Tensor,
  tanh,
  zeros,
} from "@lfm/core";

export interface LstmSizes {
  readonly in: number;
  readonly hidden: number;
  readonly layers: number;
}

const DIRECTIONS = ["", "_reverse"] as const;

/** What an LSTM in both directions learns, under torch's names and as torch begins: U(±1/√hidden). */
export function freshLstm(name: string, rng: Rng, s: LstmSizes): Record<string, HostTensor> {
  const bound = 1 / Math.sqrt(s.hidden);
  const out: Record<string, HostTensor> = {};
  for (let layer = 0; layer < s.layers; layer++)
    for (const direction of DIRECTIONS)
      for (const [part, width] of [
        ["weight_ih", layer === 0 ? s.in : 2 * s.hidden],
        ["weight_hh", s.hidden],
        ["bias_ih", undefined],
        ["bias_hh", undefined],
      ] as const) {
        const full = `${name}.${part}_l${layer}${direction}`;
        const shape = width === undefined ? [4 * s.hidden] : [4 * s.hidden, width];
        out[full] = f32(rng.split(full).uniformArray(4 * s.hidden * (width ?? 1), -bound, bound), shape);
      }
  return out;
}

/**
 * A sequence through an LSTM in both directions (torch's: gates input, forget, cell, output), f32[steps, 2·hidden].
 * @param x f32[steps, in]; steps is a number, and each of them is traced
 */
export function bidirectionalLstm(x: Tensor, name: string, params: ParamTree, layers: number): Tensor {
  let h = x;
  for (let layer = 0; layer < layers; layer++)
    h = concat(
      DIRECTIONS.map((direction) => {
        const get = (part: string): Tensor => params[`${name}.${part}_l${layer}${direction}`]!;
        return oneWay(h, get, direction === "_reverse");
      }),
      1,
    );
  return h;
}

function oneWay(x: Tensor, get: (part: string) => Tensor, reversed: boolean): Tensor {
  const steps = x.dim(0) as number;
  const hidden = get("weight_hh").dim(1) as number;
  const given = linear(x, get("weight_ih"), add(get("bias_ih"), get("bias_hh")));
  let [h, c] = [constant(zeros([1, hidden])), constant(zeros([1, hidden]))];
  const states = new Array<Tensor>(steps);
  for (let i = 0; i < steps; i++) {
    const t = reversed ? steps - 1 - i : i;
    const gates = add(slice(given, 0, t, 1), linear(h, get("weight_hh"), undefined));
    const [input, forget, cell, output] = split(gates, 1, 4) as [Tensor, Tensor, Tensor, Tensor];
    c = add(mul(sigmoid(forget), c), mul(sigmoid(input), tanh(cell)));
    h = mul(sigmoid(output), tanh(c));
    states[t] = h;
  }
  return concat(states, 0);
}
