import { type Engine, type FileTensor, type HostTensor, LfmError, type MethodContext, type Model, type Weights } from "@lfm/core";
import { hashWeights, readSafetensors, writeSafetensors } from "@lfm/formats";
import { z } from "zod";
import { collectFisher, type FisherEstimator } from "./fisher-statistics.js";
import { collectGrams } from "./gram-statistics.js";
import type { TaskProbe } from "./task-probe.js";

/** What a model's data says about its weights: input of the merges that weigh by it. */
export interface Statistics {
  /** fisher: mean squared gradients, of the shape of each parameter; gram: XᵀX / rows of the input of each linear layer, f32[in, in]. */
  readonly kind: "fisher" | "gram";
  /** By the name of the parameter. Those of a file are read when they are needed. */
  readonly tensors: Readonly<Record<string, HostTensor | FileTensor>>;
  /** Grams: how the weight lies in the checkpoint. */
  readonly layouts: Readonly<Record<string, "out-in" | "in-out">>;
  /** Hash of the weights that they were taken with. */
  readonly model: string;
  /** Examples that were seen. */
  readonly samples: number;
  /** How squared gradients were taken; empty for grams. */
  readonly estimator: FisherEstimator | "";
}

export interface StatisticsOptions {
  readonly kind: "fisher" | "gram";
  /** Examples. Default 256, as fusion_bench. */
  readonly samples?: number;
  /** Fisher: see {@link FisherEstimator}. Default "expected". */
  readonly estimator?: FisherEstimator;
  /** Hash of the weights, where it is known; default: it is taken. */
  readonly model?: string;
  /** Threads of the engine. */
  readonly threads?: number;
  readonly signal?: AbortSignal;
  readonly progress?: MethodContext["progress"];
}

/** Runs a model over examples of its task and keeps what a merge needs of them. @throws {LfmError} CONFIG_INVALID, ABORTED */
export async function collectStats(engine: Engine, model: Model, examples: TaskProbe, options: StatisticsOptions): Promise<Statistics> {
  const { kind, samples = 256, estimator = "expected", threads, signal, progress = () => {} } = options;
  if (!Number.isInteger(samples) || samples < 1)
    throw new LfmError("CONFIG_INVALID", `[@lfm/reuse] statistics of ${samples} examples: give a whole number above 0`);
  const run = { engine, progress, ...(signal ? { signal } : {}), ...(threads ? { threads } : {}) };
  const hash = options.model ?? (await hashWeights(model.params));
  if (kind === "fisher") {
    const tensors = await collectFisher(run, model, examples, samples, estimator);
    return { kind, tensors, layouts: {}, model: hash, samples, estimator };
  }
  const { tensors, layouts } = await collectGrams(run, model, examples, samples);
  return { kind, tensors, layouts, model: hash, samples, estimator: "" };
}

/** A file as other safetensors files are: tensors under the names of the parameters, the rest in the metadata. @throws {LfmError} FILE_IO */
export async function saveStats(path: string, statistics: Statistics): Promise<void> {
  const { kind, model, samples, estimator, layouts, tensors } = statistics;
  await writeSafetensors(path, tensors, {
    metadata: {
      format: "lfm-statistics",
      kind,
      model,
      samples: String(samples),
      ...(estimator ? { estimator } : {}),
      ...(kind === "gram" ? { layouts: JSON.stringify(layouts) } : {}),
    },
  });
}

const metadata = z.object({
  format: z.literal("lfm-statistics"),
  kind: z.enum(["fisher", "gram"]),
  model: z.string(),
  samples: z.coerce.number().int().positive(),
  estimator: z.enum(["expected", "empirical", "fusion-bench"]).optional(),
  layouts: z
    .string()
    .default("{}")
    .transform((text, issue) => {
      try {
        return JSON.parse(text) as unknown;
      } catch {
        issue.addIssue("is no JSON");
        return z.NEVER;
      }
    })
    .pipe(z.record(z.string(), z.enum(["out-in", "in-out"]))),
});

/** Reads the header; tensors stay in the file until they are needed. @throws {LfmError} FILE_FORMAT, FILE_IO */
export function loadStats(path: string): Statistics {
  const file = readSafetensors(path);
  const parsed = metadata.safeParse(file.metadata);
  if (!parsed.success)
    throw new LfmError("FILE_FORMAT", `[@lfm/reuse] ${path} holds no statistics of a model: ${z.prettifyError(parsed.error)}`, {
      hint: "saveStats and `lfm stats` write such files",
    });
  const { kind, model, samples, estimator, layouts } = parsed.data;
  return { kind, tensors: file.tensors, layouts, model, samples, estimator: estimator ?? "" };
}

/** Refuses statistics that were taken with other weights. @throws {LfmError} PARENT_MISMATCH */
export async function verifyStats(statistics: Statistics, weights: Weights, name: string): Promise<void> {
  refuseOtherWeights(statistics, await hashWeights(weights), name);
}

/** The same where the hash of the weights is known. @throws {LfmError} PARENT_MISMATCH */
export function refuseOtherWeights({ kind, model }: Statistics, hash: string, name: string): void {
  if (hash === model) return;
  throw new LfmError("PARENT_MISMATCH", `[@lfm/reuse] the ${kind} statistics given for "${name}" were taken with other weights`, {
    details: { expected: model, found: hash },
    hint: "collect them again with this model",
  });
}
