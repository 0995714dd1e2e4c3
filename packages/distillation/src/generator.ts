import {
  add,
  conv2d,
  f32,
  type HostTensor,
  linear,
  maximum,
  mean,
  mul,
  type ParamTree,
  type Rng,
  reshape,
  rsqrt,
  square,
  sub,
  type Tensor,
  tanh,
  upsample2d,
  zeros,
} from "@lfm/core";

/** Shape of what a generator makes and of its noise. */
export interface GeneratorShape {
  readonly noise: number;
  /** [channels, height, width]; height and width divisible by 4. Or [features]. */
  readonly item: readonly number[];
  readonly width: number;
}

/**
 * Fresh parameters of a generator. Images: linear to a quarter of the size, then twice (batch norm, upsample 2×, conv 3×3, leaky relu),
 * conv to the channels — DAFL's generator (arXiv 1904.01186). Vectors: two hidden layers.
 */
export function initGenerator(shape: GeneratorShape, rng: Rng): Record<string, HostTensor> {
  const dense = (name: string, n: number, m: number): Record<string, HostTensor> => ({
    [`${name}.weight`]: f32(rng.split(name).normalArray(n * m, Math.sqrt(2 / n)), [m, n]),
    [`${name}.bias`]: zeros([m]),
  });
  const conv = (name: string, n: number, m: number): Record<string, HostTensor> => ({
    [`${name}.weight`]: f32(rng.split(name).normalArray(n * m * 9, Math.sqrt(2 / (9 * n))), [m, n, 3, 3]),
    [`${name}.bias`]: zeros([m]),
  });
  const { noise, item, width } = shape;
  if (item.length === 1) return { ...dense("fc1", noise, width), ...dense("fc2", width, width), ...dense("out", width, item[0]!) };
  const [channels, height, columns] = item as readonly [number, number, number];
  return {
    ...dense("fc", noise, width * (height / 4) * (columns / 4)),
    ...conv("conv1", width, width),
    ...conv("conv2", width, width / 2),
    ...conv("out", width / 2, channels),
  };
}

/** z f32[n, noise] → inputs f32[n, ...item] with mean 0 and variance 1 over the batch (no learned scale), as the data-free methods have it. */
export function generate(p: ParamTree, z: Tensor, shape: GeneratorShape): Tensor {
  const dense = (name: string, x: Tensor): Tensor => linear(x, p[`${name}.weight`]!, p[`${name}.bias`]!);
  const { item, width } = shape;
  if (item.length === 1) return standardise(dense("out", leaky(dense("fc2", leaky(dense("fc1", z))))), [0]);
  const [, height, columns] = item as readonly [number, number, number];
  const conv = (name: string, x: Tensor): Tensor => conv2d(x, p[`${name}.weight`]!, p[`${name}.bias`]!, { padding: 1 });
  let x = standardise(reshape(dense("fc", z), [z.dim(0), width, height / 4, columns / 4]), [0, 2, 3]);
  x = leaky(standardise(conv("conv1", upsample2d(x, 2)), [0, 2, 3]));
  x = leaky(standardise(conv("conv2", upsample2d(x, 2)), [0, 2, 3]));
  return standardise(tanh(conv("out", x)), [0, 2, 3]);
}

const leaky = (x: Tensor): Tensor => maximum(x, mul(x, 0.2));

function standardise(x: Tensor, axes: readonly number[]): Tensor {
  const centred = sub(x, mean(x, axes, { keepDims: true }));
  return mul(centred, rsqrt(add(mean(square(centred), axes, { keepDims: true }), 1e-5)));
}
