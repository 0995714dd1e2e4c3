/** T-Patcher's neurons (arXiv 2301.09785, equation 4): beside an MLP, each adds relu(x·k + b)·v to what the MLP gives for x. */
import {
  add,
  type DeltaForm,
  type Dim,
  f32,
  type Hook,
  type HostTensor,
  linear,
  matmul,
  maximum,
  type Site,
  sym,
  type Tensor,
} from "@lfm/core";

const [KEYS, BIASES, VALUES] = [".patch.keys", ".patch.biases", ".patch.values"] as const;
const parts = [KEYS, BIASES, VALUES] as const;

/** What deltas of such neurons are; joined, they stand beside each other. */
export const patchNeuronForm: DeltaForm<unknown> = Object.freeze({
  hooks: (_config, tensors) => {
    const hook: Hook = {
      matches: ({ path }) => path + KEYS in tensors,
      output: (y, x, { path }) => {
        const [keys, biases, values] = parts.map((name) => tensors[path + name]!) as [Tensor, Tensor, Tensor];
        return add(y, matmul(maximum(add(linear(x, keys, undefined), biases), 0), values));
      },
    };
    return [hook];
  },
  shapes: (tensors) =>
    Object.fromEntries(
      Object.entries(tensors).map(([name, { shape }]): [string, readonly Dim[]] => {
        const path = name.slice(0, name.lastIndexOf(".patch."));
        return [name, [sym(`neurons_${path.replace(/\W/g, "_")}`), ...shape.slice(1)]];
      }),
    ),
  join: joinNeurons,
} satisfies DeltaForm<unknown>);

/** The neurons of two edits beside each other. */
export function joinNeurons(
  below: Readonly<Record<string, HostTensor>>,
  above: Readonly<Record<string, HostTensor>>,
): Record<string, HostTensor> {
  const joined: Record<string, HostTensor> = { ...below };
  for (const [name, t] of Object.entries(above)) joined[name] = joined[name] ? behind(joined[name], t) : t;
  return joined;
}

/** Neurons as tensors of a delta. keys — f32[n, in], biases — f32[n], values — f32[n, out] */
export function patchTensors({ path }: Site, keys: HostTensor, biases: HostTensor, values: HostTensor): Record<string, HostTensor> {
  return { [path + KEYS]: keys, [path + BIASES]: biases, [path + VALUES]: values };
}

function behind(a: HostTensor, b: HostTensor): HostTensor {
  const data = new Float32Array(a.data.length + b.data.length);
  data.set(a.data as Float32Array);
  data.set(b.data as Float32Array, a.data.length);
  return f32(data, [a.shape[0]! + b.shape[0]!, ...a.shape.slice(1)]);
}
