/** Numbers as torch's CPU generator draws them, for adapters whose random matrices are not in the file but follow from a seed. */

const [N, M] = [624, 397];

/** The 32-bit Mersenne Twister MT19937 (Matsumoto and Nishimura, 1998), as torch.Generator("cpu").manual_seed(seed). @returns the next word, unsigned */
function mersenneTwister(seed: number): () => number {
  const state = new Uint32Array(N);
  state[0] = seed;
  for (let i = 1; i < N; i++) {
    const x = state[i - 1]! ^ (state[i - 1]! >>> 30);
    state[i] = Math.imul(x, 1812433253) + i;
  }
  let at = N;
  const renew = (): void => {
    for (let i = 0; i < N; i++) {
      const y = (state[i]! & 0x80000000) | (state[(i + 1) % N]! & 0x7fffffff);
      state[i] = state[(i + M) % N]! ^ (y >>> 1) ^ (y & 1 ? 0x9908b0df : 0);
    }
    at = 0;
  };
  return () => {
    if (at === N) renew();
    let y = state[at++]!;
    y ^= y >>> 11;
    y ^= (y << 7) & 0x9d2c5680;
    y ^= (y << 15) & 0xefc60000;
    return (y ^ (y >>> 18)) >>> 0;
  };
}

/** Draws of `tensor.uniform_(low, high, generator=…)` of f32 tensors, one after another. */
export function torchUniform(seed: number): (size: number, low: number, high: number) => Float32Array {
  const next = mersenneTwister(seed);
  return (size, low, high) => {
    const [from, to] = [Math.fround(low), Math.fround(high)];
    const width = Math.fround(to - from);
    return Float32Array.from({ length: size }, () => (next() & 0xffffff) * 2 ** -24 * width + from);
  };
}
