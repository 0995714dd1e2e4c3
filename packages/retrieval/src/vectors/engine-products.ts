import { type Compiled, compile, type Engine, f32, matmul, sym, throwIfAborted } from "@lfm/core";
import { TopK } from "../index/top-k.js";

/** Values of one block of scores: 4 M × 4 bytes. */
const BLOCK = 1 << 22;

interface Specs {
  readonly q: { readonly dtype: "f32"; readonly shape: readonly (number | ReturnType<typeof sym>)[] };
  readonly v: { readonly dtype: "f32"; readonly shape: readonly (number | ReturnType<typeof sym>)[] };
  readonly [name: string]: { readonly dtype: "f32"; readonly shape: readonly (number | ReturnType<typeof sym>)[] };
}

/**
 * The k vectors with the largest products with each query, by matrix products in blocks, on all threads of the engine.
 * @param queries f32[m, d] @param vectors f32[n, d] @param mask u8[n], 0 for what is left out @throws {LfmError} ABORTED between blocks
 */
export async function searchByProducts(
  engine: Engine,
  queries: Float32Array,
  vectors: Float32Array,
  d: number,
  k: number,
  mask: Uint8Array | undefined,
  signal: AbortSignal | undefined,
): Promise<TopK[]> {
  const [m, n] = [queries.length / d, vectors.length / d];
  const tops = Array.from({ length: m }, () => new TopK(k));
  const perBlock = Math.max(1, Math.floor(BLOCK / Math.max(1, m)));
  const products = await compileProducts(engine, d);
  try {
    for (let from = 0; from < n; from += perBlock) {
      throwIfAborted(signal, "[@lfm/retrieval] search");
      const count = Math.min(perBlock, n - from);
      const block = vectors.subarray(from * d, (from + count) * d);
      const scores = (await products({ q: f32(queries, [m, d]), v: f32(block, [count, d]) })).scores.data as Float32Array;
      for (const [q, top] of tops.entries()) {
        for (let i = 0; i < count; i++) {
          const score = scores[q * count + i]!;
          if (score > top.threshold && (mask === undefined || mask[from + i] !== 0)) top.offer(from + i, score);
        }
      }
    }
  } finally {
    await products.dispose();
  }
  return tops;
}

async function compileProducts(engine: Engine, d: number): Promise<Compiled<Specs, { readonly scores: ReturnType<typeof matmul> }>> {
  const specs = { q: { dtype: "f32", shape: [sym("queries"), d] }, v: { dtype: "f32", shape: [sym("vectors"), d] } } as const;
  return compile(engine, specs as Specs, ({ q, v }) => ({ scores: matmul(q, v, { transB: true }) }));
}
