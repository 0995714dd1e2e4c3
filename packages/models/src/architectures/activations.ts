import { clip, gelu, geluTanh, mul, relu, sigmoid, silu, square, type Tensor, tanh } from "@lfm/core";
import { z } from "zod";

/** transformers' names of activations; several are one function in other arithmetic. */
const activations = {
  gelu,
  gelu_python: gelu,
  gelu_new: geluTanh,
  gelu_pytorch_tanh: geluTanh,
  gelu_python_tanh: geluTanh,
  gelu_fast: geluTanh,
  gelu_accurate: geluTanh,
  quick_gelu: (x: Tensor): Tensor => mul(x, sigmoid(mul(x, 1.702))),
  gelu_10: (x: Tensor): Tensor => clip(gelu(x), -10, 10),
  relu,
  relu2: (x: Tensor): Tensor => square(relu(x)),
  relu6: (x: Tensor): Tensor => clip(x, 0, 6),
  silu,
  swish: silu,
  sigmoid,
  tanh,
  linear: (x: Tensor): Tensor => x,
} as const;

export type Activation = keyof typeof activations;

const names = Object.keys(activations) as [Activation, ...Activation[]];

/** A config's field that names an activation. */
export const activationName: z.ZodEnum<{ [K in Activation]: K }> = z.enum(names);

/** The function of an activation's name, on every element. */
export function activation(name: Activation): (x: Tensor) => Tensor {
  return activations[name];
}
