import { f32, type HostTensor, type Rng } from "@lfm/core";

/** Weight f32[out, in] and bias f32[out] as torch's Linear begins: U(±1/√in). */
export function freshLinear(name: string, rng: Rng, width: { readonly in: number; readonly out: number }): Record<string, HostTensor> {
  const bound = 1 / Math.sqrt(width.in);
  const own = rng.split(name);
  return {
    [`${name}.weight`]: f32(own.uniformArray(width.in * width.out, -bound, bound), [width.out, width.in]),
    [`${name}.bias`]: f32(own.uniformArray(width.out, -bound, bound), [width.out]),
  };
}

/** f32[rows, width] as torch's Embedding begins: N(0, 1). */
export function freshEmbedding(name: string, rng: Rng, rows: number, width: number): Record<string, HostTensor> {
  return { [`${name}.weight`]: f32(rng.split(name).normalArray(rows * width), [rows, width]) };
}
