import { f32, type HostTensor, type Rng } from "@lfm/core";

export interface ZerothOrderOptions {
  /** Random directions m. */
  readonly directions: number;
  /** Length ε of a step in each. */
  readonly step: number;
  readonly rng: Rng;
}

/**
 * The gradient of a function of each example, estimated by forward differences (arXiv 2011.14779 eq. 7): (d/m)·Σ (f(x + εu) − f(x))/ε · u, u uniform on the
 * unit sphere of the example's d numbers.
 * @param f values of all examples; asked m + 1 times
 * @param x f32[n, …item]
 * @returns f32 like x
 */
export async function zerothOrderGradient(
  f: (x: HostTensor) => Promise<Float64Array>,
  x: HostTensor,
  { directions, step, rng }: ZerothOrderOptions,
): Promise<Float32Array> {
  const [n, size] = [x.shape[0]!, x.data.length / x.shape[0]!];
  const at = await f(x);
  const gradient = new Float32Array(x.data.length);
  for (let k = 0; k < directions; k++) {
    const u = rng.split(k).normalArray(x.data.length);
    for (let i = 0; i < n; i++) {
      const own = u.subarray(i * size, (i + 1) * size);
      const length = Math.sqrt(own.reduce((s, v) => s + v * v, 0));
      for (let j = 0; j < size; j++) own[j] = own[j]! / length;
    }
    const beside = await f(
      f32(
        Float32Array.from(u, (v, i) => Number(x.data[i]) + step * v),
        [...x.shape],
      ),
    );
    for (let i = 0; i < n; i++) {
      const slope = ((beside[i]! - at[i]!) / step) * (size / directions);
      for (let j = i * size; j < (i + 1) * size; j++) gradient[j] = gradient[j]! + slope * u[j]!;
    }
  }
  return gradient;
}
