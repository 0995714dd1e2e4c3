import { add, type Delta, type DeltaForm, type Dim, f32, type HostTensor, matmul, type Site, sym, transpose } from "@lfm/core";
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
 * @param k f64[in]; @param now f64[out], what the layer gives for `at`; @param factor Cholesky factor of C
 * @param at the key that gets the value, where it is another one than k, along which the change lies
 */
export function rankOneUpdate(
  k: Float64Array,
  now: Float64Array,
  wanted: Float64Array,
  factor: Float64Array,
  at: Float64Array = k,
): RankOne {
  const u = solveCholesky(factor, k);
  const scale = u.reduce((s, x, i) => s + x * at[i]!, 0);
  return { key: u.map((x) => x / scale), value: wanted.map((v, i) => v - now[i]!) };
}

const KEYS = ".edit.keys";
const VALUES = ".edit.values";
/** Keys at which facts were written, for later edits to keep; they change nothing. */
const WRITTEN = ".edit.written";

/** Names of the factors of a site: keys f32[r, in] and values f32[r, out]. */
export function lowRankNames({ path }: Site): { readonly keys: string; readonly values: string } {
  return { keys: path + KEYS, values: path + VALUES };
}

/**
 * The factors as tensors of a delta, a row for each fact, but never more than the layer has outputs: bytes, not a copy of the weight.
 * @param written keys that later edits shall keep
 */
export function rankOneTensors({ path }: Site, updates: readonly RankOne[], written?: readonly Float64Array[]): Record<string, HostTensor> {
  const rows = updates.length > updates[0]!.value.length ? byOutput(updates) : updates;
  return {
    [path + KEYS]: rowsOf(rows.map((u) => u.key)),
    [path + VALUES]: rowsOf(rows.map((u) => u.value)),
    ...(written ? { [path + WRITTEN]: rowsOf(written) } : {}),
  };
}

/** Keys at which edits have written at a site, in their order, f64[in] each. */
export function pastKeys(edits: readonly Pick<Delta, "tensors">[], { path }: Site): readonly Float64Array[] {
  return edits.flatMap(({ tensors }) => {
    const t = tensors[path + WRITTEN];
    if (!t) return [];
    const [n, width] = t.shape as readonly [number, number];
    return Array.from({ length: n }, (_, i) => Float64Array.from((t.data as Float32Array).subarray(i * width, (i + 1) * width)));
  });
}

/** The same change with a row for each output: its row of the weight. */
function byOutput(updates: readonly RankOne[]): readonly RankOne[] {
  const out = updates[0]!.value.length;
  return Array.from({ length: out }, (_, o) => {
    const key = new Float64Array(updates[0]!.key.length);
    for (const u of updates) {
      const f = u.value[o]!;
      for (let i = 0; i < key.length; i++) key[i] = key[i]! + f * u.key[i]!;
    }
    return { key, value: Float64Array.from({ length: out }, (_, i) => (i === o ? 1 : 0)) };
  });
}

/** What deltas of rank-one changes are: Σ value·keyᵀ is added to the weight of every site that has factors; the number of rows is a symbol. */
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
  shapes: (tensors) => Object.fromEntries(Object.entries(tensors).map(([name, { shape }]) => [name, [rowsAt(name), shape[1]!]])),
  join: (below, above) => {
    const joined: Record<string, HostTensor> = { ...below };
    for (const [name, t] of Object.entries(above)) joined[name] = joined[name] ? under(joined[name], t) : t;
    return joined;
  },
  frozen: (name) => name.endsWith(WRITTEN),
} satisfies DeltaForm<unknown>);

/** Every site has a number of rows of its own, the same for keys and values. */
function rowsAt(tensor: string): Dim {
  const kind = tensor.endsWith(WRITTEN) ? "written" : "facts";
  const path = tensor.replace(/\.edit\.\w+$/, "");
  return sym(`${kind}_${path.replace(/\W/g, "_")}`);
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

/** Factors of a change of one linear layer: ΔW = Σ valueᵢ·keyᵢᵀ, [out, in]. */
export interface LowRankChange {
  /** Path of the layer. */
  readonly path: string;
  /** f32[rank, in] */
  readonly keys: HostTensor;
  /** f32[rank, out] */
  readonly values: HostTensor;
}

/** What a delta changes, layer by layer; undefined where it is anything but changes of low rank. */
export function lowRankChanges({ tensors }: Pick<Delta, "tensors">): readonly LowRankChange[] | undefined {
  const changes = Object.entries(tensors).flatMap(([name, keys]) => {
    const path = name.endsWith(KEYS) ? name.slice(0, -KEYS.length) : undefined;
    const values = path === undefined ? undefined : tensors[path + VALUES];
    return path !== undefined && values ? [{ path, keys, values }] : [];
  });
  return changes.length > 0 && 2 * changes.length === Object.keys(tensors).length ? changes : undefined;
}
