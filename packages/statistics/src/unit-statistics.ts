import {
  compile,
  concat,
  dimScalar,
  div,
  type Engine,
  type Hook,
  LfmError,
  type Model,
  type ModelInput,
  matmul,
  mean,
  mul,
  type ParamTree,
  reshape,
  slice,
  sub,
  sum,
  type Tensor,
  throwIfAborted,
  transpose,
} from "@lfm/core";
import { batchSpecs, type DataBatch } from "./data-batch.js";

/** Where the values of units can be seen: what flows into or out of a site. Unit u owns `offset + u·block` to `offset + u·block + block − 1`. */
export interface UnitTap {
  readonly site: string;
  readonly side: "input" | "output";
  /** "last": f32[..., positions]; "channels": f32[batch, channels, height, width]. */
  readonly axis: "last" | "channels";
  readonly offset: number;
  readonly block: number;
  readonly units: number;
}

/** Second moments of the units of several models on the same data, units of all models side by side. */
export interface UnitStatistics {
  /** Units of each model. */
  readonly sizes: readonly number[];
  /** f64[N], N the units of all models together. */
  readonly mean: Float64Array;
  /** f64[N, N]: Σ (x − mean)(x − mean)ᵀ over samples. */
  readonly scatter: Float64Array;
  readonly samples: number;
}

export interface UnitStatisticsOptions {
  readonly signal?: AbortSignal;
  readonly onBatch?: (done: number, total: number) => void;
  readonly threads?: number;
}

/**
 * Runs models side by side over data and gathers how their units vary together. One compiled graph; products of a batch in the engine,
 * batches joined in f64. Positions that a mask hides do not count.
 * @param taps those of each model, as many for each: the k-th of all models are looked at together
 * @returns one entry per tap
 * @throws {LfmError} CAPABILITY_MISSING without data or for a tap that the forward pass does not come by, ABORTED
 */
export async function unitStatistics(
  engine: Engine,
  models: readonly Model[],
  taps: readonly (readonly UnitTap[])[],
  data: readonly DataBatch[],
  options: UnitStatisticsOptions = {},
): Promise<UnitStatistics[]> {
  const [first] = data;
  if (!first) throw new LfmError("CAPABILITY_MISSING", "[@lfm/statistics] activations need data, and none was given");
  const run = await compile(
    engine,
    { input: batchSpecs(first) },
    ({ input }, frozen: Readonly<Record<string, ParamTree>>) => {
      const views = models.map((m, i) => see(m, taps[i]!, frozen[i]!, input));
      return {
        moments: taps[0]!.map((_, t) =>
          moments(
            views.map((v) => v[t]!),
            input.mask,
          ),
        ),
      };
    },
    { frozen: Object.fromEntries(models.map((m, i) => [i, m.params])), ...(options.threads ? { threads: options.threads } : {}) },
  );
  const totals: UnitStatistics[] = [];
  try {
    for (const [done, batch] of data.entries()) {
      throwIfAborted(options.signal, "[@lfm/statistics] activations");
      const out = await run({ input: batch });
      for (const [t, m] of out.moments.entries()) {
        const statistics: UnitStatistics = {
          sizes: taps.map((own) => own[t]!.units),
          mean: new Float64Array(m.mean.data as Float32Array),
          scatter: new Float64Array(m.scatter.data as Float32Array),
          samples: Number(m.samples.data[0]),
        };
        totals[t] = totals[t] ? pooled(totals[t], statistics) : statistics;
      }
      options.onBatch?.(done + 1, data.length);
    }
  } finally {
    await run.dispose();
  }
  return totals;
}

/** What a tap sees: f32[units, samples], samples = batch · positions in order; perPosition where a mask counts for it. */
interface View {
  readonly units: Tensor;
  readonly perPosition: boolean;
}

/** Traces a model once and gives what each tap sees. */
function see(model: Model, taps: readonly UnitTap[], params: ParamTree, input: ModelInput): View[] {
  const seen = new Map<string, Tensor>();
  const wanted = new Set(taps.map((t) => t.site));
  const hook: Hook = {
    matches: (site) => wanted.has(site.path),
    input: (x, site) => {
      seen.set(`input ${site.path}`, x);
      return x;
    },
    output: (y, _x, site) => {
      seen.set(`output ${site.path}`, y);
      return y;
    },
  };
  model.forward(params, input, { mode: "eval", hooks: [hook] });
  return taps.map((tap) => {
    const x = seen.get(`${tap.side} ${tap.site}`);
    if (!x) throw new LfmError("CAPABILITY_MISSING", `[@lfm/statistics] the forward pass never came by the ${tap.side} of "${tap.site}"`);
    return { units: unitsFirst(x, tap), perPosition: tap.axis === "last" && x.rank === 3 };
  });
}

function unitsFirst(x: Tensor, tap: UnitTap): Tensor {
  const axis = tap.axis === "channels" ? 1 : x.rank - 1;
  const own = slice(x, axis, tap.offset, tap.units * tap.block);
  const front = transpose(own, [axis, ...x.shape.map((_, i) => i).filter((i) => i !== axis)]);
  // Of a flattened image the positions of a channel lie side by side: they are samples of one unit.
  return reshape(front, [tap.units, -1]);
}

/** Mean, scatter and number of samples of one batch, units of all models side by side. mask — f32[batch, seq] */
function moments(views: readonly View[], mask: Tensor | undefined): { mean: Tensor; scatter: Tensor; samples: Tensor } {
  const weight = mask && views[0]!.perPosition ? reshape(mask, [1, -1]) : undefined;
  const [first] = views;
  const samples = weight ? sum(weight) : dimScalar(first!.units.dim(1));
  const parts = views.map(({ units }) => {
    const mu = weight ? div(sum(mul(units, weight), 1, { keepDims: true }), samples) : mean(units, 1, { keepDims: true });
    const centred = sub(units, mu);
    return { mu, centred: weight ? mul(centred, weight) : centred };
  });
  const centred = join(parts.map((p) => p.centred));
  return { mean: reshape(join(parts.map((p) => p.mu)), [-1]), scatter: matmul(centred, centred, { transB: true }), samples };
}

function join(rows: readonly Tensor[]): Tensor {
  return rows.length === 1 ? rows[0]! : concat(rows, 0);
}

/** Moments of two sets of samples together (Chan, Golub & LeVeque). */
function pooled(a: UnitStatistics, b: UnitStatistics): UnitStatistics {
  const samples = a.samples + b.samples;
  const n = a.mean.length;
  const gap = b.mean.map((m, i) => m - a.mean[i]!);
  const scatter = new Float64Array(n * n);
  const weight = (a.samples * b.samples) / samples;
  for (let i = 0; i < n; i++)
    for (let j = 0; j < n; j++) scatter[i * n + j] = a.scatter[i * n + j]! + b.scatter[i * n + j]! + gap[i]! * gap[j]! * weight;
  return { sizes: a.sizes, mean: a.mean.map((m, i) => m + (gap[i]! * b.samples) / samples), scatter, samples };
}

/** f64[N, N] of Pearson correlations; a unit that never changes is alike to none (0). */
export function correlations({ scatter, mean: { length: n } }: UnitStatistics): Float64Array {
  const out = new Float64Array(n * n);
  const deviation = Float64Array.from({ length: n }, (_, i) => Math.sqrt(Math.max(0, scatter[i * n + i]!)));
  for (let i = 0; i < n; i++)
    for (let j = 0; j < n; j++) {
      const scale = deviation[i]! * deviation[j]!;
      out[i * n + j] = scale > 0 ? scatter[i * n + j]! / scale : 0;
    }
  return out;
}

/** f64[N, N] of E[x xᵀ]. */
export function innerProducts({ scatter, mean: mu, samples }: UnitStatistics): Float64Array {
  const n = mu.length;
  const out = new Float64Array(n * n);
  for (let i = 0; i < n; i++) for (let j = 0; j < n; j++) out[i * n + j] = scatter[i * n + j]! / samples + mu[i]! * mu[j]!;
  return out;
}

/** Rows of model `a`, columns of model `b`: f64[sizes[a], sizes[b]] of a matrix over the units of all models. */
export function between(all: Float64Array, sizes: readonly number[], a: number, b: number): Float64Array {
  const total = sizes.reduce((x, y) => x + y, 0);
  const start = (k: number): number => sizes.slice(0, k).reduce((x, y) => x + y, 0);
  const [from, at] = [start(a), start(b)];
  const out = new Float64Array(sizes[a]! * sizes[b]!);
  for (let i = 0; i < sizes[a]!; i++) out.set(all.subarray((from + i) * total + at, (from + i) * total + at + sizes[b]!), i * sizes[b]!);
  return out;
}
