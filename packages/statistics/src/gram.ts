import {
  add,
  broadcastTo,
  compile,
  concat,
  type Dim,
  dimEqual,
  type Engine,
  expandDims,
  f32,
  full,
  type Hook,
  type HostTensor,
  LfmError,
  type MethodContext,
  type Model,
  matmul,
  mul,
  type ParamTree,
  reshape,
  type Site,
  sum,
  type Tensor,
  type Weights,
} from "@lfm/core";
import { hashWeights } from "@lfm/formats";
import { eachBatch, type Flow } from "./probe.js";
import { type CollectOptions, type GramStatistics, readOptions } from "./statistics.js";

/** Linear sites whose weight is theirs alone: an embedding that is also the head has rows of its own kind, and is not among them. */
export function gramSites(model: Model): readonly Site[] {
  const tables = new Set(model.info.sites.filter((s) => s.kind === "embedding").map((s) => s.weight?.name));
  return model.info.sites.filter((s) => s.weight && ["linear", "head", "pooler"].includes(s.kind) && !tables.has(s.weight.name));
}

export interface GramOptions extends CollectOptions {
  /** Where to measure; default: every linear layer, see {@link gramSites}. */
  readonly sites?: readonly Site[];
  /**
   * Stops before `samples` where more examples would change little: when their number has doubled and no Gram matrix has moved by more than this
   * share of its own size, ‖C₂ₙ − Cₙ‖ / ‖C₂ₙ‖ ≤ tolerance. Default: all are looked at.
   */
  readonly tolerance?: number;
}

/**
 * Second moments E[x·xᵀ] of what flows into linear layers, over all positions that count; batches are summed in f64.
 * @throws {LfmError} CAPABILITY_MISSING for a model without linear layers, CONFIG_INVALID where no position counts, ABORTED
 */
export async function collectGrams(engine: Engine, model: Model, flow: Flow, options: GramOptions = {}): Promise<GramStatistics> {
  const { samples, run } = readOptions(options);
  const sites = options.sites ?? gramSites(model);
  if (sites.length === 0)
    throw new LfmError(
      "CAPABILITY_MISSING",
      `[@lfm/statistics] ${model.info.architecture} has no linear layer whose input could be measured`,
    );
  const hash = options.model ?? (await hashWeights(model.params));
  const total = new GramSum(sites);
  const { tolerance } = options;
  const seen = await sumGrams(total, engine, model, model.params, flow, {
    ...run,
    samples,
    ...(tolerance === undefined ? {} : { tolerance }),
  });
  return { kind: "gram", ...total.mean(), model: hash, samples: seen };
}

/**
 * Adds what a model with these weights sees of a flow.
 * @returns the examples that were seen: fewer than `samples` where a tolerance was met
 * @throws {LfmError} CONFIG_INVALID, ABORTED
 */
export async function sumGrams(
  total: GramSum,
  engine: Engine,
  model: Model,
  weights: Weights,
  flow: Flow,
  run: Pick<MethodContext, "signal" | "progress"> & { readonly samples: number; readonly threads?: number; readonly tolerance?: number },
): Promise<number> {
  const f = await compile(
    engine,
    { batch: flow.batch },
    ({ batch }, params: ParamTree) => traceGrams(model, params, flow, batch, total.sites),
    { frozen: weights, ...(run.threads ? { threads: run.threads } : {}) },
  );
  try {
    const settled = run.tolerance === undefined ? undefined : settling(total, run.tolerance);
    return await eachBatch(flow, run.samples, run, "gram", async (batch, seen) => {
      total.add(await f({ batch }));
      return settled?.(seen) ? "enough" : undefined;
    });
  } finally {
    await f.dispose();
  }
}

/** Fewer examples than these say nothing about how much more would change. */
const LEAST = 16;

/** Whether the mean has moved by no more than a share since there were half as many examples; asked after every batch. */
function settling(total: GramSum, tolerance: number): (seen: number) => boolean {
  let before: { readonly seen: number; readonly means: Means } | undefined;
  return (seen) => {
    if (seen < Math.max(LEAST, 2 * (before?.seen ?? 0)) || !total.counted()) return false;
    const means = total.mean().tensors;
    const moved = before && Math.max(...Object.entries(means).map(([name, t]) => movedBy(before!.means[name]!, t)));
    before = { seen, means };
    return moved !== undefined && moved <= tolerance;
  };
}
type Means = Readonly<Record<string, HostTensor>>;

/** ‖b − a‖ / ‖b‖ */
function movedBy(a: HostTensor, b: HostTensor): number {
  const [x, y] = [a.data as Float32Array, b.data as Float32Array];
  let [moved, size] = [0, 0];
  for (let i = 0; i < y.length; i++) {
    moved += (y[i]! - x[i]!) ** 2;
    size += y[i]! ** 2;
  }
  return size > 0 ? Math.sqrt(moved / size) : 0;
}

type TracedGrams = {
  /** XᵀX f32[in, in] by the name of the weight; where a layer stands at several sites, their sum. */
  readonly grams: Readonly<Record<string, Tensor>>;
  /** f32[]: rows that were counted. */
  readonly rows: Readonly<Record<string, Tensor>>;
};

/** Traces a forward pass and what its linear sites see. */
function traceGrams(
  model: Model,
  params: ParamTree,
  flow: Flow,
  batch: Readonly<Record<string, Tensor>>,
  sites: readonly Site[],
): TracedGrams {
  const input = flow.input(batch);
  const counted = flow.counted?.(batch) ?? input.mask;
  const grams: Record<string, Tensor> = {};
  const rows: Record<string, Tensor> = {};
  const wanted = new Map(sites.map((s) => [s.path, s]));
  const hook: Hook = {
    matches: (s) => wanted.has(s.path),
    output: (y, x, site, { prefix = 0 }) => {
      const { gram, count } = gramOf(x, counted && behind(prefix, counted), site);
      const { name } = site.weight!;
      grams[name] = grams[name] ? add(grams[name], gram) : gram;
      rows[name] = rows[name] ? add(rows[name], count) : count;
      return y;
    },
  };
  model.forward(params, input, { mode: "eval", hooks: [hook] });
  const missed = sites.find((s) => !grams[s.weight!.name]);
  if (missed)
    throw new LfmError("INTERNAL", `[@lfm/statistics] the forward pass of ${model.info.architecture} does not come by ${missed.path}`);
  return { grams, rows };
}

/** XᵀX and the number of rows of X, positions without a token left out. x — f32[batch, …, in] */
function gramOf(x: Tensor, counted: Tensor | undefined, site: Site): { readonly gram: Tensor; readonly count: Tensor } {
  const width = site.weight!.in;
  const perToken = counted !== undefined && x.rank === 3 && dimEqual(x.dim(1), counted.dim(1));
  const rows = reshape(x, [-1, width]);
  if (!perToken) return { gram: matmul(rows, rows, { transA: true }), count: sum(full(x.shape.slice(0, -1), 1)) };
  const each = broadcastTo(counted, x.shape.slice(0, 2));
  const kept = reshape(mul(x, expandDims(each, -1)), [-1, width]);
  return { gram: matmul(kept, rows, { transA: true }), count: sum(each) };
}

/** Counts for a sequence that prompts have lengthened: what they put in front holds no token. counted — f32[batch, seq] */
function behind(prefix: Dim, counted: Tensor): Tensor {
  return dimEqual(prefix, 0) ? counted : concat([full([counted.dim(0), prefix], 0), counted], 1);
}

type HostGrams = Readonly<Record<"grams" | "rows", Readonly<Record<string, HostTensor>>>>;

/** Sums over batches, in f64. */
export class GramSum {
  private readonly sums: ReadonlyMap<string, Float64Array>;
  private readonly widths: ReadonlyMap<string, number>;
  private readonly rows = new Map<string, number>();

  constructor(readonly sites: readonly Site[]) {
    this.widths = new Map(sites.map((s) => [s.weight!.name, s.weight!.in]));
    this.sums = new Map([...this.widths].map(([name, width]) => [name, new Float64Array(width * width)]));
  }

  add({ grams, rows }: HostGrams): void {
    for (const [name, total] of this.sums) {
      const part = grams[name]!.data as Float32Array;
      for (let i = 0; i < total.length; i++) total[i] = total[i]! + part[i]!;
      this.rows.set(name, (this.rows.get(name) ?? 0) + Number(rows[name]!.data[0]));
    }
  }

  /** Whether every layer has seen a row that counts. */
  counted(): boolean {
    return [...this.sums.keys()].every((name) => (this.rows.get(name) ?? 0) > 0);
  }

  /** @throws {LfmError} CONFIG_INVALID where no row was counted */
  mean(): Pick<GramStatistics, "layouts" | "rows"> & { readonly tensors: Readonly<Record<string, HostTensor>> } {
    const tensors: Record<string, HostTensor> = {};
    for (const [name, total] of this.sums) {
      const n = this.rows.get(name) ?? 0;
      if (n === 0) throw new LfmError("CONFIG_INVALID", `[@lfm/statistics] no token of the examples counts: nothing flows into "${name}"`);
      const width = this.widths.get(name)!;
      const mean = Float32Array.from(total, (v) => v / n);
      tensors[name] = f32(mean, [width, width]);
    }
    const layouts = Object.fromEntries(this.sites.map((s) => [s.weight!.name, s.weight!.layout]));
    return { tensors, layouts, rows: Object.fromEntries(this.rows) };
  }
}
