import { add, type DeltaForm, type Dim, f32, type HostTensor, matmul, type Site, sym, transpose } from "@lfm/core";
import { solveCholesky } from "@lfm/core/linalg";

/** Ŵ = W + value·keyᵀ: the two factors of a rank-one change of a linear layer. */
export interface RankOne {
  /** f64[in] */
  readonly key: Float64Array;
  /** f64[out] */
  readonly value: Float64Array;
}

/**
 * The smallest change, measured by C, after which the layer gives `wanted` for the key k: Ŵ = W + (wanted − now)·uᵀ/(uᵀk), u = C⁻¹k
 * (arXiv 2202.05262, equation 2).
 * @param k f64[in]; @param now f64[out], what the layer gives for k; @param factor Cholesky factor of C
 */
export function rankOneUpdate(k: Float64Array, now: Float64Array, wanted: Float64Array, factor: Float64Array): RankOne {
  const u = solveCholesky(factor, k);
  const scale = u.reduce((s, x, i) => s + x * k[i]!, 0);
  return { key: u.map((x) => x / scale), value: wanted.map((v, i) => v - now[i]!) };
}

const KEYS = ".edit.keys";
const VALUES = ".edit.values";

/** The factors as tensors of a delta, a row for each fact: bytes, not a copy of the weight. */
export function rankOneTensors({ path }: Site, updates: readonly RankOne[]): Record<string, HostTensor> {
  return { [path + KEYS]: rowsOf(updates.map((u) => u.key)), [path + VALUES]: rowsOf(updates.map((u) => u.value)) };
}

/** What deltas of rank-one changes are: Σ value·keyᵀ is added to the weight of every site that has factors; the number of facts is a symbol. */
export const rankOneForm: DeltaForm<unknown> = Object.freeze({
  hooks: (_config, tensors) => [
    {
      matches: (site) => site.path + KEYS in tensors,
      weight: (w, { path, weight }) => {
        const [keys, values] = [tensors[path + KEYS]!, tensors[path + VALUES]!];
        return add(w, weight!.layout === "out-in" ? matmul(transpose(values), keys) : matmul(transpose(keys), values));
      },
    },
  ],
  shapes: (tensors) => Object.fromEntries(Object.entries(tensors).map(([name, { shape }]) => [name, [factsAt(name), shape[1]!]])),
  join: (below, above) => {
    const joined: Record<string, HostTensor> = { ...below };
    for (const [name, t] of Object.entries(above)) joined[name] = joined[name] ? under(joined[name], t) : t;
    return joined;
  },
} satisfies DeltaForm<unknown>);

/** Every site has a number of facts of its own, the same for keys and values. */
function factsAt(tensor: string): Dim {
  const path = tensor.replace(KEYS, "").replace(VALUES, "");
  return sym(`facts_${path.replace(/\W/g, "_")}`);
}

function rowsOf(vectors: readonly Float64Array[]): HostTensor {
  const width = vectors[0]!.length;
  const data = new Float32Array(vectors.length * width);
  for (const [i, v] of vectors.entries()) data.set(v, i * width);
  return f32(data, [vectors.length, width]);
}

function under(a: HostTensor, b: HostTensor): HostTensor {
  const data = new Float32Array(a.data.length + b.data.length);
  data.set(a.data as Float32Array);
  data.set(b.data as Float32Array, a.data.length);
  return f32(data, [a.shape[0]! + b.shape[0]!, a.shape[1]!]);
}
