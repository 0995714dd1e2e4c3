import { f32, type HostTensor, isFloatType, LfmError, loadWeight, sizeOf, type Weights, widenToF32 } from "@lfm/core";
import { type PermutationSpec, usesByParam } from "./permutation-spec.js";

/** New units from old ones, both f64[to, from], row-major. */
export interface UnitMap {
  readonly to: number;
  readonly from: number;
  /** What makes new unit i: Σⱼ makes[i, j] · what made old unit j. Rows that sum to 1 average. */
  readonly makes: Float64Array;
  /** What reads new unit i: Σⱼ reads[i, j] · what read old unit j. */
  readonly reads: Float64Array;
}

/** By id of the group; groups without a map stay as they are. */
export type UnitMaps = Readonly<Record<string, UnitMap>>;

/**
 * Weights of a model over new units. Integers stay. Only groups of kind "units" can be mapped.
 * @throws {LfmError} SHAPE_MISMATCH for a map that does not fit the units
 */
export function mapUnits(
  spec: PermutationSpec,
  maps: UnitMaps,
  weights: Weights,
  names = Object.keys(weights),
): Record<string, HostTensor> {
  const uses = usesByParam(spec);
  return Object.fromEntries(
    names.map((name) => {
      let tensor = loadWeight(weights[name]!);
      if (!isFloatType(tensor.dtype)) return [name, tensor];
      tensor = widenToF32(tensor);
      for (const { group, use } of uses.get(name) ?? []) {
        const map = maps[group.id];
        if (map) tensor = mapAxis(tensor, use.axis, use.block, map, use.makes ? map.makes : map.reads, name);
      }
      return [name, tensor];
    }),
  );
}

function mapAxis(tensor: HostTensor, axis: number, block: number, { to, from }: UnitMap, matrix: Float64Array, name: string): HostTensor {
  if (tensor.shape[axis] !== from * block)
    throw new LfmError(
      "SHAPE_MISMATCH",
      `[@lfm/reuse] "${name}" is [${tensor.shape}], its axis ${axis} does not hold ${from} units of ${block}`,
    );
  const inner = sizeOf(tensor.shape.slice(axis + 1)) * block;
  const outer = sizeOf(tensor.shape.slice(0, axis));
  const data = tensor.data as Float32Array;
  const out = new Float32Array(outer * to * inner);
  const sum = new Float64Array(inner);
  for (let o = 0; o < outer; o++) {
    for (let i = 0; i < to; i++) {
      sum.fill(0);
      for (let j = 0; j < from; j++) {
        const weight = matrix[i * from + j]!;
        if (weight === 0) continue;
        const at = (o * from + j) * inner;
        for (let k = 0; k < inner; k++) sum[k]! += weight * data[at + k]!;
      }
      out.set(sum, (o * to + i) * inner);
    }
  }
  return f32(out, tensor.shape.with(axis, to * block));
}

/**
 * Σ wₖ·θₖ of tensors with equal shapes, in f64; integers are those of the first.
 * @throws {LfmError} SHAPE_MISMATCH, PARAM_NOT_FOUND
 */
export function weightedSum(parts: readonly Readonly<Record<string, HostTensor>>[], w: readonly number[]): Record<string, HostTensor> {
  const [first] = parts;
  return Object.fromEntries(
    Object.entries(first!).map(([name, tensor]) => {
      if (!isFloatType(tensor.dtype)) return [name, tensor];
      const total = new Float64Array(tensor.data.length);
      for (const [k, part] of parts.entries()) {
        const other = part[name];
        if (!other) throw new LfmError("PARAM_NOT_FOUND", `[@lfm/reuse] model ${k + 1} has no parameter "${name}"`);
        if (other.shape.length !== tensor.shape.length || other.shape.some((d, i) => d !== tensor.shape[i]))
          throw new LfmError(
            "SHAPE_MISMATCH",
            `[@lfm/reuse] "${name}" is [${tensor.shape}] in the first model and [${other.shape}] in model ${k + 1}`,
          );
        const data = widenToF32(other).data as Float32Array;
        for (let i = 0; i < data.length; i++) total[i]! += w[k]! * data[i]!;
      }
      return [name, f32(Float32Array.from(total), tensor.shape)];
    }),
  );
}
