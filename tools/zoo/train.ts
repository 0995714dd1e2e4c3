import {
  adamw,
  argMax,
  type Checkpoint,
  cast,
  cosineSchedule,
  crossEntropy,
  div,
  type Engine,
  equal,
  f32,
  type HostTensor,
  i32,
  maximum,
  mul,
  type Progress,
  Rng,
  sum,
  type Tensor,
  trainableParams,
} from "@lfm/core";
import { type CorpusStage, fullStage, readingStages, type World, zooBatch } from "@lfm/data";
import { initWeights, llama } from "@lfm/models";
import { fit } from "@lfm/train";
import { type ModelSize, modelConfig, recipe } from "./recipe.js";

export type Params = Readonly<Record<string, HostTensor>>;

/** One line of the training log. */
export interface LogRow {
  readonly phase: "reading" | "full" | "wide";
  readonly step: number;
  readonly stage: number;
  readonly loss: number;
  /** Running share of answers read out of a passage that were right. */
  readonly reading: number;
  /** Running share of trained facts that were recalled. */
  readonly recall: number;
  /** Running share of consequences that were right: of passages, and of facts. */
  readonly hops: number;
  readonly consequences: number;
}

export interface TrainContext {
  readonly engine: Engine;
  readonly world: World;
  readonly progress: (p: Progress) => void;
  readonly log: (row: LogRow) => void;
  /** Where a phase keeps its state; `memo` are the numbers that its steps change besides parameters, restored in place. */
  readonly checkpoint: (phase: string, memo: Record<string, number>) => Checkpoint;
}

const LOG_EVERY = 100;
/** What is logged of a step, by the mark that its answers have in a batch (place + 1; 3 are opinions, which have no one right word). */
const MARKS = { reading: 1, recall: 2, hops: 4, consequences: 5 } as const;
const SHARES = Object.keys(MARKS) as (keyof typeof MARKS)[];

/** Learns to read with the curriculum. */
export async function learnReading(context: TrainContext): Promise<Params> {
  for (let start = 0; start < recipe.reading.starts; start++) {
    const params = await tryReading(context, recipe.seed + 100 * start);
    if (params) return params;
  }
  throw new Error(`no start out of ${recipe.reading.starts} learned to read`);
}

/** undefined when this start does not get through the curriculum. */
async function tryReading(context: TrainContext, seed: number): Promise<Params | undefined> {
  const { world } = context;
  const { lr, pass, memory, patience, most } = recipe.reading;
  const stages = readingStages(world);
  const memo = { stage: 0, since: 0, average: 0 };
  const start = initWeights(llama(modelConfig(world.vocabulary.size, recipe.reading)).info, {
    seed,
    embeddingStd: recipe.init.embeddings,
    std: recipe.init.matrices,
  });
  const result = await fitPhase(context, "reading", seed, start, recipe.reading, {
    stageOf: () => stages[memo.stage]!,
    lr,
    steps: most,
    checkpoint: context.checkpoint(`reading-${seed}`, memo),
    onStep: (step, values) => {
      memo.average = memory * memo.average + (1 - memory) * values.reading!;
      if (step % LOG_EVERY === 0)
        context.log({
          phase: "reading",
          step,
          stage: memo.stage,
          loss: values.loss!,
          reading: memo.average,
          recall: 0,
          hops: 0,
          consequences: 0,
        });
      if (memo.average < pass || step - memo.since < patience) return undefined;
      Object.assign(memo, { stage: memo.stage + 1, since: step, average: 0.5 });
      return memo.stage === stages.length ? "stop" : undefined;
    },
  });
  return memo.stage === stages.length ? result.params : undefined;
}

/**
 * Grows to full depth and learns the mixture. The new blocks come first and start as the identity: what was read in the old ones still is, and
 * people get what is known of them in blocks below those that look it up.
 */
export function learnFull(context: TrainContext, read: Params): Promise<Params> {
  const added = recipe.full.layers - recipe.reading.layers;
  // New blocks get names that the reader does not have.
  const nameInReader = (name: string): string =>
    name.replace(/\.layers\.(\d+)\./, (_, layer: string) => `.layers.${Number(layer) - added}.`);
  return learnMixture(
    context,
    "full",
    grow(context.world, recipe.full, 1, (name) => read[nameInReader(name)]),
    recipe.full.leave,
  );
}

/** Grows to full width and learns the mixture to the end. */
export function learnWide(context: TrainContext, narrow: Params): Promise<Params> {
  return learnMixture(
    context,
    "wide",
    grow(context.world, recipe.wide, 2, (name) => narrow[name]),
    recipe.wide.steps,
  );
}

async function learnMixture(context: TrainContext, phase: "full" | "wide", start: Params, leave: number): Promise<Params> {
  const { lr, warmup, floor, steps } = recipe[phase];
  const stages = { facts: fullStage(context.world, 0), all: fullStage(context.world) };
  const memo = { reading: 0, recall: 0, hops: 0, consequences: 0 };
  const result = await fitPhase(context, phase, recipe.seed, start, recipe[phase], {
    stageOf: (step) => (phase === "full" && step < recipe.full.composeFrom ? stages.facts : stages.all),
    lr,
    steps,
    schedule: cosineSchedule(warmup, floor),
    weightDecay: recipe.weightDecay,
    clipNorm: recipe.clipNorm,
    checkpoint: context.checkpoint(phase, memo),
    onStep: (step, values) => {
      for (const share of SHARES) memo[share] = 0.98 * memo[share] + 0.02 * values[share]!;
      if (step % LOG_EVERY === 0) context.log({ phase, step, stage: 0, loss: values.loss!, ...memo });
      return step >= leave ? "stop" : undefined;
    },
  });
  return result.params;
}

/**
 * A larger model that computes what the smaller one does: the smaller one's entries where it had any, and what is new writes nothing (its part
 * of o_proj and down_proj is 0). New hidden units stand behind the old ones.
 */
function grow(world: World, size: ModelSize, seed: number, old: (name: string) => HostTensor | undefined): Params {
  const fresh = initWeights(llama(modelConfig(world.vocabulary.size, size)).info, {
    seed: recipe.seed + seed,
    embeddingStd: recipe.init.embeddings,
    std: recipe.init.matrices,
  });
  return Object.fromEntries(
    Object.entries(fresh).map(([name, t]) => {
      const own = old(name);
      if (own && own.data.length === t.data.length) return [name, own];
      const writes = /\.(o_proj|down_proj)\.weight$/.test(name);
      const data = writes ? new Float32Array(t.data.length) : (t.data as Float32Array).slice();
      const [width, ownWidth] = [t.shape[1]!, own?.shape[1] ?? 0];
      for (let row = 0; row < (own?.shape[0] ?? 0); row++)
        data.set((own!.data as Float32Array).subarray(row * ownWidth, (row + 1) * ownWidth), row * width);
      return [name, { ...t, data }];
    }),
  );
}

interface PhaseOptions {
  readonly stageOf: (step: number) => CorpusStage;
  readonly lr: number;
  readonly steps: number;
  readonly schedule?: ReturnType<typeof cosineSchedule>;
  readonly weightDecay?: number;
  readonly clipNorm?: number;
  readonly checkpoint: Checkpoint;
  readonly onStep: (step: number, values: Readonly<Record<string, number>>) => undefined | "stop";
}

function fitPhase(
  { engine, world, progress }: TrainContext,
  phase: LogRow["phase"],
  seed: number,
  start: Params,
  size: ModelSize,
  o: PhaseOptions,
): ReturnType<typeof fit> {
  const rows = recipe[phase].rows;
  const shape = [rows, recipe.length];
  const model = llama(modelConfig(world.vocabulary.size, size), start);
  const corpus = seed + { reading: 10, full: 11, wide: 12 }[phase];
  return fit({
    engine,
    trainable: trainableParams(model),
    // Concrete dimensions: this step is always of one size, and a little faster so.
    batch: {
      tokens: { dtype: "i32", shape },
      targets: { dtype: "i32", shape },
      weights: { dtype: "f32", shape },
      ...Object.fromEntries(SHARES.map((share) => [share, { dtype: "f32" as const, shape }])),
    },
    batches: (step) => {
      const b = zooBatch(world, { seed: corpus, step, stage: o.stageOf(step), rows, length: recipe.length });
      const marked = (mark: number): HostTensor =>
        f32(
          Float32Array.from(b.answers, (a) => (a === mark ? 1 : 0)),
          shape,
        );
      return {
        tokens: i32(b.tokens, shape),
        targets: i32(b.targets, shape),
        weights: f32(b.weights, shape),
        ...Object.fromEntries(SHARES.map((share) => [share, marked(MARKS[share])])),
      };
    },
    loss: (params, batch) => {
      const b = batch as unknown as Record<"tokens" | "targets" | "weights" | keyof typeof MARKS, Tensor>;
      const logits = model.forward(params, { tokens: b.tokens }, { mode: "train" }).logits!;
      const hits = cast(equal(argMax(logits), b.targets), "f32");
      const share = (of: Tensor): Tensor => div(sum(mul(hits, of)), maximum(sum(of), 1));
      return {
        loss: crossEntropy(logits, b.targets, b.weights),
        metrics: Object.fromEntries(SHARES.map((name) => [name, share(b[name])])),
      };
    },
    optimizer: adamw({ weightDecay: o.weightDecay ?? 0 }),
    lr: o.lr,
    steps: o.steps,
    rng: new Rng(seed).split(phase),
    progress,
    phase: `zoo ${phase}`,
    checkpoint: o.checkpoint,
    onStep: o.onStep,
    ...(o.schedule ? { schedule: o.schedule } : {}),
    ...(o.clipNorm === undefined ? {} : { clipNorm: o.clipNorm }),
  });
}
