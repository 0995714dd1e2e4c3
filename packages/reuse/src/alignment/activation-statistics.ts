import {
  compile,
  concat,
  type Dim,
  dimScalar,
  div,
  type Engine,
  type Hook,
  type HostTensor,
  LfmError,
  type Model,
  type ModelInput,
  matmul,
  mean,
  mul,
  type ParamTree,
  reshape,
  type Spec,
  slice,
  sub,
  sum,
  sym,
  type Tensor,
  throwIfAborted,
  transpose,
} from "@lfm/core";
import { channelSizes, type PermutationGroup, type PermutationSpec, type Tap } from "./permutation-spec.js";

/** One batch of what models read: `tokens` i32[n, seq] (with `mask` f32[n, seq]), `pixels` f32[n, c, h, w] or `features` f32[n, width]. */
export type DataBatch = Readonly<Partial<Record<"tokens" | "mask" | "segments" | "pixels" | "features", HostTensor>>>;

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

/** By group, one entry per tap. */
export type ActivationStatistics = Readonly<Record<string, readonly { readonly tap: Tap; readonly statistics: UnitStatistics }[]>>;

export interface ActivationOptions {
  readonly signal?: AbortSignal;
  readonly onBatch?: (done: number, total: number) => void;
  readonly threads?: number;
}

/**
 * Runs models side by side over data and gathers how their units vary together. One compiled graph; products of a batch in the engine,
 * batches joined in f64. Positions that a mask hides do not count.
 * @param specs that of each model: the same groups, sizes may differ
 * @throws {LfmError} CAPABILITY_MISSING without data, SHAPE_MISMATCH for specs of unlike models, ABORTED
 */
export async function activationStatistics(
  engine: Engine,
  models: readonly Model[],
  specs: readonly PermutationSpec[],
  data: readonly DataBatch[],
  options: ActivationOptions = {},
): Promise<ActivationStatistics> {
  const [first] = data;
  if (!first) throw new LfmError("CAPABILITY_MISSING", "[@lfm/reuse] alignment: activations need data, and none was given");
  for (const spec of specs) {
    if (spec.groups.length !== specs[0]!.groups.length || spec.groups.some((g, i) => g.id !== specs[0]!.groups[i]!.id))
      throw new LfmError("SHAPE_MISMATCH", "[@lfm/reuse] alignment: the models have unlike groups of units");
  }
  const run = await compile(
    engine,
    batchSpecs(first),
    (input, frozen) => {
      const views = models.map((m, i) => see(m, specs[i]!, (frozen as Record<string, ParamTree>)[i]!, input as ModelInput));
      return Object.fromEntries(
        specs[0]!.groups.map((g) => [
          g.id,
          g.taps.map((_, t) =>
            moments(
              views.map((v) => v(g.id, t)),
              (input as { mask?: Tensor }).mask,
            ),
          ),
        ]),
      );
    },
    { frozen: Object.fromEntries(models.map((m, i) => [i, m.params])), ...(options.threads ? { threads: options.threads } : {}) },
  );
  const totals: Record<string, { tap: Tap; statistics: UnitStatistics }[]> = {};
  try {
    for (const [done, batch] of data.entries()) {
      throwIfAborted(options.signal, "[@lfm/reuse] activations");
      const out = (await run(batch as never)) as unknown as Record<
        string,
        { mean: HostTensor; scatter: HostTensor; samples: HostTensor }[]
      >;
      for (const group of specs[0]!.groups) {
        totals[group.id] = out[group.id]!.map((m, t) => {
          const tap = group.taps[t]!;
          const sizes = specs.map((s) => channelSizes(s.groups.find((g) => g.id === group.id)!)[tap.channel]!);
          const statistics = {
            sizes,
            mean: new Float64Array(m.mean.data as Float32Array),
            scatter: new Float64Array(m.scatter.data as Float32Array),
            samples: Number(m.samples.data[0]),
          };
          const before = totals[group.id]?.[t]?.statistics;
          return { tap, statistics: before ? pooled(before, statistics) : statistics };
        });
      }
      options.onBatch?.(done + 1, data.length);
    }
  } finally {
    await run.dispose();
  }
  return totals;
}

/** Types of a batch, its first dimensions symbolic. */
export function batchSpecs(batch: DataBatch): Record<string, Spec> {
  const free = (name: string): Dim[] =>
    name === "tokens" || name === "mask" || name === "segments" ? [sym("batch"), sym("seq")] : [sym("batch")];
  return Object.fromEntries(
    Object.entries(batch).map(([name, t]) => [name, { dtype: t.dtype, shape: [...free(name), ...t.shape.slice(free(name).length)] }]),
  );
}

/** What a tap sees: f32[units, samples], samples = batch · positions in order; perPosition where a mask counts for it. */
interface View {
  readonly units: Tensor;
  readonly perPosition: boolean;
}

/** Traces a model once and gives what each tap sees. */
function see(model: Model, spec: PermutationSpec, params: ParamTree, input: ModelInput): (group: string, tap: number) => View {
  const seen = new Map<string, Tensor>();
  const wanted = new Set(spec.groups.flatMap((g) => g.taps.map((t) => t.site)));
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
  return (id, t) => {
    const group = spec.groups.find((g) => g.id === id)!;
    const tap = group.taps[t]!;
    const x = seen.get(`${tap.side} ${tap.site}`);
    if (!x)
      throw new LfmError("CAPABILITY_MISSING", `[@lfm/reuse] alignment: the forward pass never came by the ${tap.side} of "${tap.site}"`);
    return { units: unitsFirst(x, group, tap), perPosition: tap.axis === "last" && x.rank === 3 };
  };
}

function unitsFirst(x: Tensor, group: PermutationGroup, tap: Tap): Tensor {
  const n = channelSizes(group)[tap.channel]!;
  const axis = tap.axis === "channels" ? 1 : x.rank - 1;
  const own = slice(x, axis, tap.offset, n * tap.block);
  const front = transpose(own, [axis, ...x.shape.map((_, i) => i).filter((i) => i !== axis)]);
  // Of a flattened image the positions of a channel lie side by side: they are samples of one unit.
  return reshape(front, [n, -1]);
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
