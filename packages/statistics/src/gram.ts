import {
  add,
  broadcastTo,
  type Checkpoint,
  compile,
  concat,
  type Dim,
  dimEqual,
  type Engine,
  expandDims,
  full,
  type Hook,
  type HostTensor,
  isLfmError,
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
import { GramSum } from "./gram-sum.js";
import { eachBatch, type Flow, type HostBatch } from "./probe.js";
import { Settling } from "./settling.js";
import { type CollectOptions, type GramStatistics, readOptions } from "./statistics.js";

const SAVE_EVERY_MS = 60_000;

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
  /** Saves itself here once a minute and when it is stopped on request, and goes on from what is saved: with the same flow, to the same bytes. */
  readonly checkpoint?: Checkpoint;
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
  const { tolerance, checkpoint } = options;
  const seen = await sumGrams(total, engine, model, model.params, flow, {
    ...run,
    samples,
    ...(tolerance === undefined ? {} : { tolerance }),
    ...(checkpoint ? { resume: checkpoint } : {}),
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
  run: Pick<MethodContext, "signal" | "progress"> &
    Pick<GramOptions, "threads" | "tolerance"> & { readonly samples: number; readonly resume?: Checkpoint },
): Promise<number> {
  const f = await compile(
    engine,
    { batch: flow.batch },
    ({ batch }, params: ParamTree) => traceGrams(model, params, flow, batch, total.sites),
    { frozen: weights, ...(run.threads ? { threads: run.threads } : {}) },
  );
  const { resume: checkpoint } = run;
  const settling = run.tolerance === undefined ? undefined : new Settling(total, run.tolerance);
  const from = { step: 0, seen: 0 };
  const save = async (): Promise<void> => {
    const seen: HostTensor = { dtype: "f64", shape: [1], data: Float64Array.of(from.seen) };
    await checkpoint?.save({ step: from.step, tensors: { seen, ...total.saved(), ...settling?.saved() } });
  };
  try {
    const state = await checkpoint?.load();
    if (state) {
      total.restore(state.tensors);
      settling?.restore(state.tensors);
      Object.assign(from, { step: state.step, seen: Number(state.tensors.seen?.data[0] ?? 0) });
    }
    let savedAt = performance.now();
    const visit = async (batch: HostBatch, seen: number, step: number): Promise<"enough" | undefined> => {
      total.add(await f({ batch }));
      Object.assign(from, { step, seen });
      if (settling?.settled(seen)) return "enough";
      if (performance.now() - savedAt > SAVE_EVERY_MS) {
        await save();
        savedAt = performance.now();
      }
      return undefined;
    };
    return await eachBatch(flow, run.samples, run, "gram", visit, { ...from });
  } catch (error) {
    if (isLfmError(error, "ABORTED") && from.step > 0) await save();
    throw error;
  } finally {
    await f.dispose();
  }
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
