import {
  add,
  div,
  type Hook,
  type HostTensor,
  linear,
  matmul,
  mul,
  oneHot,
  type ParamTree,
  type Rng,
  reshape,
  type Site,
  softmax,
  sqrt,
  square,
  sum,
  type Tensor,
  topK,
} from "@lfm/core";
import { lowRank, type Matrix, matrix } from "@lfm/core/linalg";

export interface LowRankExpertOptions {
  /** Rank of each expert. */
  readonly k: number;
  /** Right singular vectors of each task vector that an input is projected on. */
  readonly gateK: number;
  /** Experts that answer. */
  readonly topK: number;
}

type Part = "gate" | "down" | "up" | "bias";
const nameOf = (site: Site, part: Part): string => `${site.path}.smile.${part}`;

/**
 * The experts of one linear layer: of each task vector τ = UΣVᵀ the first k terms.
 * @param vectors f32[models, …shape of the weight]; @param bias f32[models, out]
 * @returns gate f32[models, gateK, in], down f32[models, k, in] (ΣVᵀ), up f32[models, k, out] (Uᵀ), bias f32[models, out]
 */
export function expertsOfLinear(
  site: Site,
  vectors: HostTensor,
  bias: HostTensor | undefined,
  c: Pick<LowRankExpertOptions, "k" | "gateK">,
  rng: Rng,
): Record<string, HostTensor> {
  const { in: width, out, layout } = site.weight!;
  const models = vectors.shape[0]!;
  const rank = Math.min(c.k, width, out);
  const gateRank = Math.min(c.gateK, width, out);
  const gate = new Float32Array(models * gateRank * width);
  const down = new Float32Array(models * rank * width);
  const up = new Float32Array(models * rank * out);
  for (let i = 0; i < models; i++) {
    const { values, left, right } = lowRank(
      changeOf(vectors, i, width, out, layout),
      { rank: Math.max(rank, gateRank) },
      rng.split(`${site.path}.${i}`),
    );
    for (let r = 0; r < values.length; r++) {
      if (r < gateRank) copyRow(right, r, gate, i * gateRank + r, 1);
      if (r >= rank) continue;
      copyRow(right, r, down, i * rank + r, values[r]!);
      copyRow(left, r, up, i * rank + r, 1);
    }
  }
  return {
    [nameOf(site, "gate")]: { dtype: "f32", shape: [models, gateRank, width], data: gate },
    [nameOf(site, "down")]: { dtype: "f32", shape: [models, rank, width], data: down },
    [nameOf(site, "up")]: { dtype: "f32", shape: [models, rank, out], data: up },
    ...(bias ? { [nameOf(site, "bias")]: { dtype: "f32" as const, shape: [models, out], data: bias.data } } : {}),
  };
}

/** τ of one model, [out, in]. */
function changeOf(vectors: HostTensor, model: number, width: number, out: number, layout: "out-in" | "in-out"): Matrix {
  const from = model * width * out;
  const at = layout === "out-in" ? (j: number): number => j : (j: number): number => (j % width) * out + Math.floor(j / width);
  return matrix(
    out,
    width,
    Float64Array.from({ length: width * out }, (_, j) => Number(vectors.data[from + at(j)])),
  );
}

function copyRow({ columns, data }: Matrix, row: number, into: Float32Array, at: number, factor: number): void {
  for (let j = 0; j < columns; j++) into[at * columns + j] = factor * data[row * columns + j]!;
}

/**
 * y + Σᵢ wᵢ(Bᵢ·Aᵢx + bᵢ) at every site that has experts: w is the softmax of ‖gateᵢ·x‖ over the experts, the topK largest kept and scaled to
 * sum 1, anew for every token. All experts are computed; those that were not chosen count zero.
 */
export function lowRankExpertHooks(tensors: ParamTree, c: Pick<LowRankExpertOptions, "topK">): readonly Hook[] {
  return [
    {
      matches: (site) => nameOf(site, "gate") in tensors,
      output: (y, x, site) => {
        const part = (name: Part): Tensor => tensors[nameOf(site, name)]!;
        const flat = (t: Tensor): Tensor => reshape(t, [-1, t.dim(-1)]);
        const [gate, down] = [part("gate"), part("down")];
        const [models, rank] = down.shape as readonly [number, number, number];
        const rows = flat(x);
        const projected = reshape(linear(rows, flat(gate), undefined), [-1, models, gate.dim(1)]);
        const weights = routing(projected, models, c.topK);
        const inner = reshape(linear(rows, flat(down), undefined), [-1, models, rank]);
        const scaled = reshape(mul(inner, reshape(weights, [-1, models, 1])), [-1, models * rank]);
        const change = matmul(scaled, flat(part("up")));
        const whole = nameOf(site, "bias") in tensors ? add(change, matmul(weights, part("bias"))) : change;
        return add(y, reshape(whole, y.shape));
      },
    },
  ];
}

/** projected — f32[rows, models, gateK] → f32[rows, models] */
function routing(projected: Tensor, models: number, kept: number): Tensor {
  const lengths = sqrt(sum(square(projected), -1));
  const p = softmax(lengths);
  if (kept >= models) return p;
  const chosen = mul(p, sum(oneHot(topK(p, kept).indices, models), 1));
  return div(chosen, sum(chosen, -1, { keepDims: true }));
}
