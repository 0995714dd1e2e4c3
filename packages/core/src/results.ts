import { z } from "zod";
import { needs, paradigms } from "./method.js";

/** A measured value. `null` means: not run. It is never copied from a paper. */
export const metricSchema = z.strictObject({
  value: z.number().nullable(),
  /** "fraction" in 0..1, "points" in 0..100, "ms", "bytes", "nats", "count", "ratio" … */
  unit: z.string(),
  higherIsBetter: z.boolean(),
  /** What exactly was measured, in one sentence. */
  note: z.string().optional(),
  /** The same of the model as it was before the method did anything; absent where there is no such thing or it was not measured. */
  base: z.number().optional(),
});
export type Metric = z.output<typeof metricSchema>;

/** A check for one of the survey's failure signatures. */
export const monitorSchema = z.strictObject({
  /** interference: what stands before the model takes it off what it knows, and no weight was changed. */
  id: z.enum(["catastrophic-forgetting", "interference", "mode-collapse", "retrieval-noise"]),
  /** The number the verdict rests on, null when it could not be taken. */
  value: z.number().nullable(),
  threshold: z.number(),
  warning: z.boolean(),
  message: z.string(),
  /** Optional curve, e.g. accuracy against the share of irrelevant passages. */
  curve: z.array(z.tuple([z.number(), z.number()])).optional(),
});
export type Monitor = z.output<typeof monitorSchema>;

/** Quality on what the model could do before, 0..1 each. */
export const retentionSchema = z.strictObject({
  /** What was measured, e.g. "accuracy on the base tasks". */
  of: z.string(),
  before: z.number(),
  after: z.number(),
  /** after / before, 1 = nothing forgotten. */
  kept: z.number(),
});
export type Retention = z.output<typeof retentionSchema>;

/** Something that a model said, beside what it should have. */
export const sampleOutputSchema = z.strictObject({
  /** What was done to the model, in words. */
  after: z.string(),
  /** What it was asked for, e.g. "what follows from the new object". */
  about: z.string(),
  prompt: z.string(),
  right: z.string(),
  said: z.string(),
  /** What it said before; absent where it was not asked. */
  before: z.string().optional(),
});
export type SampleOutput = z.output<typeof sampleOutputSchema>;

/** One cell of a benchmark: method × model × task × seed. */
export const cellResultSchema = z.strictObject({
  schema: z.literal(1),
  /** Content hash of the cell's plan; its file is called so. */
  hash: z.string().regex(/^[\w-]+$/),
  paradigm: z.enum(paradigms),
  method: z.string(),
  /** Preset or label that tells cells of one method apart, e.g. "houlsby". */
  variant: z.string().optional(),
  model: z.string(),
  task: z.string(),
  /** Name of the metric shown in tables and plots. */
  headline: z.string().optional(),
  seed: z.number().int(),
  status: z.enum(["ok", "failed", "skipped"]),
  error: z.strictObject({ code: z.string(), message: z.string(), hint: z.string().optional() }).optional(),
  reason: z.string().optional(),
  config: z.record(z.string(), z.unknown()),
  /** What the suite set of the task, defaults filled in: sizes. */
  options: z.record(z.string(), z.unknown()).optional(),
  access: z.array(z.enum(needs)),
  metrics: z.record(z.string(), metricSchema),
  retention: retentionSchema.nullable(),
  /** Parameters that gradients or closed forms changed. */
  trainableParams: z.number().nullable(),
  /** Bytes of what was learned, as saved. */
  bytes: z.number().nullable(),
  /** Calls to a black-box model; 0 when it was open. */
  queries: z.number().nullable(),
  /** Real examples used for learning; 0 for data-free methods. */
  dataUsed: z.number().nullable(),
  /** Wall time of the cell, without {@link setupMs}. */
  wallMs: z.number().nullable(),
  /** Wall time of making what other cells use too and this one was the first to ask for; null where it was not taken. */
  setupMs: z.number().nullable().default(null),
  /** Wall time by phase. */
  phasesMs: z.record(z.string(), z.number()),
  peakRssBytes: z.number().nullable(),
  /** Filled by @lfm/probe. */
  security: z.null(),
  monitors: z.array(monitorSchema),
  /** What the model said, in words: the worst of it. */
  outputs: z.array(sampleOutputSchema).optional(),
  /** Training curves: name → [step, value][]. */
  curves: z.record(z.string(), z.array(z.tuple([z.number(), z.number()]))),
  modelHash: z.string().nullable(),
  dataHash: z.string().nullable(),
  engine: z.string(),
  versions: z.record(z.string(), z.string()),
  machine: z.strictObject({ cpu: z.string(), cores: z.number(), memoryBytes: z.number(), platform: z.string(), node: z.string() }),
});
export type CellResult = z.output<typeof cellResultSchema>;

/** What a bench cell hands back; the runner adds time, memory, machine and hashes. */
export interface CellOutcome {
  readonly metrics: Readonly<Record<string, Metric>>;
  readonly retention: Retention | null;
  readonly trainableParams: number | null;
  readonly bytes: number | null;
  readonly queries: number | null;
  readonly dataUsed: number | null;
  readonly monitors: readonly Monitor[];
  readonly outputs?: readonly SampleOutput[];
  readonly curves: Readonly<Record<string, readonly (readonly [number, number])[]>>;
  readonly phasesMs?: Readonly<Record<string, number>>;
  readonly modelHash?: string;
  readonly dataHash?: string;
}

/**
 * Warns when less than `threshold` of the base quality is kept.
 * @param changed what the method changes: weights forget; a prompt or passages interfere for as long as they stand there
 */
export function forgettingMonitor(retention: Retention, changed: "weights" | "input" = "weights", threshold = 0.9): Monitor {
  const warning = retention.kept < threshold;
  return {
    id: changed === "weights" ? "catastrophic-forgetting" : "interference",
    value: retention.kept,
    threshold,
    warning,
    message: `${retention.of}: ${retention.before.toFixed(3)} before, ${retention.after.toFixed(3)} after (${(100 * retention.kept).toFixed(1)} % kept)`,
  };
}
