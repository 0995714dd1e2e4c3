import {
  add,
  broadcastTo,
  compile,
  dimEqual,
  expandDims,
  f32,
  full,
  type Hook,
  type HostTensor,
  LfmError,
  type Model,
  matmul,
  mul,
  type ParamTree,
  reshape,
  type Site,
  type Spec,
  sum,
  type Tensor,
} from "@lfm/core";
import type { StatisticsRun } from "./fisher-statistics.js";
import { eachBatch, type TaskProbe } from "./task-probe.js";

/** Linear sites whose weight is theirs alone: an embedding that is also the head has rows of its own kind, and is not among them. */
export function gramSites(model: Model): readonly Site[] {
  const tables = new Set(model.info.sites.filter((s) => s.kind === "embedding").map((s) => s.weight?.name));
  return model.info.sites.filter((s) => s.weight && ["linear", "head", "pooler"].includes(s.kind) && !tables.has(s.weight.name));
}

export interface Grams {
  /** f32[in, in]: XᵀX divided by the rows of X, by the name of the weight. */
  readonly tensors: Readonly<Record<string, HostTensor>>;
  readonly layouts: Readonly<Record<string, "out-in" | "in-out">>;
}

/** Second moments of what flows into linear layers, padding left out. @throws {LfmError} CONFIG_INVALID, ABORTED */
export async function collectGrams(
  run: StatisticsRun,
  model: Model,
  probe: TaskProbe,
  samples: number,
  sites: readonly Site[] = gramSites(model),
): Promise<Grams> {
  if (sites.length === 0)
    throw new LfmError("CAPABILITY_MISSING", `[@lfm/reuse] ${model.info.architecture} has no linear layer whose input could be measured`);
  const f = await compile(
    run.engine,
    { batch: probe.batch as Record<string, Spec> },
    ({ batch }, params: ParamTree) => traceGrams(model, params, probe, batch, sites),
    { frozen: model.params, ...(run.threads ? { threads: run.threads } : {}) },
  );
  const total = new GramSum(sites);
  try {
    await eachBatch(probe, samples, run, "gram", async (batch) => total.add(await f({ batch: batch as never })));
  } finally {
    await f.dispose();
  }
  return { tensors: total.mean(), layouts: Object.fromEntries(sites.map((s) => [s.weight!.name, s.weight!.layout])) };
}

export type TracedGrams = {
  /** XᵀX f32[in, in] by the name of the weight; where a layer stands at several sites, their sum. */
  readonly grams: Readonly<Record<string, Tensor>>;
  /** f32[]: rows that were counted. */
  readonly rows: Readonly<Record<string, Tensor>>;
};

/** Traces a forward pass and what its linear sites see. */
export function traceGrams(
  model: Model,
  params: ParamTree,
  probe: TaskProbe,
  batch: Readonly<Record<string, Tensor>>,
  sites: readonly Site[],
): TracedGrams {
  const input = probe.input(batch);
  const counted = probe.counted?.(batch) ?? input.mask;
  const grams: Record<string, Tensor> = {};
  const rows: Record<string, Tensor> = {};
  const wanted = new Map(sites.map((s) => [s.path, s]));
  const hook: Hook = {
    matches: (s) => wanted.has(s.path),
    output: (y, x, site) => {
      const { gram, count } = gramOf(x, counted, site);
      const { name } = site.weight!;
      grams[name] = grams[name] ? add(grams[name], gram) : gram;
      rows[name] = rows[name] ? add(rows[name], count) : count;
      return y;
    },
  };
  model.forward(params, input, { mode: "eval", hooks: [hook] });
  const missed = sites.find((s) => !grams[s.weight!.name]);
  if (missed) throw new LfmError("INTERNAL", `[@lfm/reuse] the forward pass of ${model.info.architecture} does not come by ${missed.path}`);
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

type HostGrams = Readonly<Record<"grams" | "rows", Readonly<Record<string, HostTensor>>>>;

/** Sums over batches, in f64. */
export class GramSum {
  private readonly sums: ReadonlyMap<string, Float64Array>;
  private readonly widths: ReadonlyMap<string, number>;
  private readonly rows = new Map<string, number>();

  constructor(sites: readonly Site[]) {
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

  /** f32[in, in] each. @throws {LfmError} CONFIG_INVALID where no row was counted */
  mean(): Record<string, HostTensor> {
    return Object.fromEntries(
      [...this.sums].map(([name, total]) => {
        const n = this.rows.get(name) ?? 0;
        if (n === 0) throw new LfmError("CONFIG_INVALID", `[@lfm/reuse] no token of the examples counts: nothing flows into "${name}"`);
        const width = this.widths.get(name)!;
        return [
          name,
          f32(
            Float32Array.from(total, (v) => v / n),
            [width, width],
          ),
        ];
      }),
    );
  }
}
