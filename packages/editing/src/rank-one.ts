import {
  add,
  type Delta,
  f32,
  type Hook,
  type HostTensor,
  LfmError,
  loadWeight,
  type Model,
  matmul,
  type ParamTree,
  reshape,
  type Site,
  widenToF32,
} from "@lfm/core";
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

const keyName = (path: string): string => `${path}.edit.key`;
const valueName = (path: string): string => `${path}.edit.value`;

/** The factors as tensors of a delta: bytes, not a copy of the weight. */
export function rankOneTensors(site: Site, { key, value }: RankOne): Record<string, HostTensor> {
  return { [keyName(site.path)]: f32(Float32Array.from(key)), [valueName(site.path)]: f32(Float32Array.from(value)) };
}

/** Adds value·keyᵀ to the weight of every site that has factors among `tensors`. */
export function rankOneHooks(tensors: ParamTree): readonly Hook[] {
  return [
    {
      matches: (site) => keyName(site.path) in tensors,
      weight: (w, site) => {
        const { in: inner, out, layout } = site.weight!;
        const [key, value] = [tensors[keyName(site.path)]!, tensors[valueName(site.path)]!];
        const change = layout === "out-in" ? outer(value, out, key, inner) : outer(key, inner, value, out);
        return add(w, change);
      },
    },
  ];
}

function outer(a: ParamTree[string], rows: number, b: ParamTree[string], columns: number): ParamTree[string] {
  return matmul(reshape(a, [rows, 1]), reshape(b, [1, columns]));
}

/**
 * The edited weights by checkpoint name, f32, the factors multiplied out: for a checkpoint without lfm. Edits are summed in order.
 * @throws {LfmError} CONFIG_INVALID for deltas that are no edits
 */
export function mergeEdits(model: Model, deltas: readonly Delta[]): Record<string, HostTensor> {
  const merged: Record<string, HostTensor> = {};
  for (const delta of deltas) {
    if (!delta.method.startsWith("editing/"))
      throw new LfmError("CONFIG_INVALID", `[@lfm/editing] ${delta.method} is no edit: it cannot be merged`);
    for (const [name, t] of Object.entries(delta.tensors)) if (name in model.params) merged[name] = widenToF32(t);
    for (const site of model.info.sites) {
      const [key, value] = [delta.tensors[keyName(site.path)], delta.tensors[valueName(site.path)]];
      if (!key || !value || !site.weight) continue;
      const { name, layout, in: inner } = site.weight;
      const base = merged[name] ?? widenToF32(loadWeight(model.params[name]!));
      const [k, v, w] = [key.data as Float32Array, value.data as Float32Array, base.data as Float32Array];
      for (let o = 0; o < v.length; o++)
        for (let i = 0; i < inner; i++) {
          const at = layout === "out-in" ? o * inner + i : i * v.length + o;
          w[at] = w[at]! + v[o]! * k[i]!;
        }
      merged[name] = base;
    }
  }
  return merged;
}
