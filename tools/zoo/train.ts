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
} from "@lfm/core";
import { type CorpusStage, fullStage, readingStages, type World, zooBatch } from "@lfm/data";
import { initWeights, llama } from "@lfm/models";
import { fit, trainableParams } from "@lfm/train";
import { modelConfig, recipe } from "./recipe.js";

export type Params = Readonly<Record<string, HostTensor>>;

/** One line of the training log. */
export interface LogRow {
  readonly phase: "reading" | "full";
  readonly step: number;
  readonly stage: number;
  readonly loss: number;
  /** Running share of answers read out of a passage that were right. */
  readonly reading: number;
  /** Running share of trained facts that were recalled. */
  readonly recall: number;
}

export interface TrainContext {
  readonly engine: Engine;
  readonly world: World;
  readonly progress: (p: Progress) => void;
  readonly log: (row: LogRow) => void;
  /** Where a phase keeps its state; `memo` are the numbers that its steps change besides parameters, restored in place. */
  readonly checkpoint: (phase: string, memo: Record<string, number>) => Checkpoint;
}

const shape = [recipe.rows, recipe.length];
const LOG_EVERY = 100;

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
  const { layers, lr, pass, memory, patience, most } = recipe.reading;
  const stages = readingStages(world);
  const memo = { stage: 0, since: 0, average: 0 };
  const start = initWeights(llama(modelConfig(world.vocabulary.size, layers)).info, {
    seed,
    embeddingStd: recipe.init.embeddings,
    std: recipe.init.matrices,
  });
  const result = await fitPhase(context, "reading", seed, start, layers, {
    stageOf: () => stages[memo.stage]!,
    lr,
    steps: most,
    checkpoint: context.checkpoint(`reading-${seed}`, memo),
    onStep: (step, values) => {
      memo.average = memory * memo.average + (1 - memory) * values.reading!;
      if (step % LOG_EVERY === 0)
        context.log({ phase: "reading", step, stage: memo.stage, loss: values.loss!, reading: memo.average, recall: 0 });
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
export async function learnFull(context: TrainContext, read: Params): Promise<Params> {
  const { world } = context;
  const { layers, lr, warmup, floor, steps, weightDecay, clipNorm } = recipe.full;
  const fresh = initWeights(llama(modelConfig(world.vocabulary.size, layers)).info, {
    seed: recipe.seed + 1,
    embeddingStd: recipe.init.embeddings,
    std: recipe.init.matrices,
  });
  const grown = Object.fromEntries(
    Object.entries(fresh).map(([name, t]) => [
      name,
      read[nameInReader(name)] ?? (/\.(o_proj|down_proj)\.weight$/.test(name) ? { ...t, data: new Float32Array(t.data.length) } : t),
    ]),
  );
  const stage = fullStage(world);
  const memo = { reading: 0, recall: 0 };
  const result = await fitPhase(context, "full", recipe.seed, grown, layers, {
    stageOf: () => stage,
    lr,
    steps,
    schedule: cosineSchedule(warmup, floor),
    weightDecay,
    clipNorm,
    checkpoint: context.checkpoint("full", memo),
    onStep: (step, values) => {
      memo.reading = 0.98 * memo.reading + 0.02 * values.reading!;
      memo.recall = 0.98 * memo.recall + 0.02 * values.recall!;
      if (step % LOG_EVERY === 0) context.log({ phase: "full", step, stage: 0, loss: values.loss!, ...memo });
      return undefined;
    },
  });
  return result.params;
}

/** Name of a parameter before the new blocks were put under it; new blocks get names that the reader does not have. */
function nameInReader(name: string): string {
  const added = recipe.full.layers - recipe.reading.layers;
  return name.replace(/\.layers\.(\d+)\./, (_, layer: string) => `.layers.${Number(layer) - added}.`);
}

interface PhaseOptions {
  readonly stageOf: () => CorpusStage;
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
  phase: "reading" | "full",
  seed: number,
  start: Params,
  layers: number,
  o: PhaseOptions,
): ReturnType<typeof fit> {
  const model = llama(modelConfig(world.vocabulary.size, layers), start);
  const corpus = seed + (phase === "reading" ? 10 : 11);
  return fit({
    engine,
    trainable: trainableParams(model),
    // Concrete dimensions: this step is always of one size, and a little faster so.
    batch: {
      tokens: { dtype: "i32", shape },
      targets: { dtype: "i32", shape },
      weights: { dtype: "f32", shape },
      read: { dtype: "f32", shape },
      known: { dtype: "f32", shape },
    },
    batches: (step) => {
      const b = zooBatch(world, { seed: corpus, step, stage: o.stageOf(), rows: recipe.rows, length: recipe.length });
      const marked = (mark: number): HostTensor =>
        f32(
          Float32Array.from(b.answers, (a) => (a === mark ? 1 : 0)),
          shape,
        );
      return {
        tokens: i32(b.tokens, shape),
        targets: i32(b.targets, shape),
        weights: f32(b.weights, shape),
        read: marked(1),
        known: marked(2),
      };
    },
    loss: (params, batch) => {
      const b = batch as unknown as Record<"tokens" | "targets" | "weights" | "read" | "known", Tensor>;
      const logits = model.forward(params, { tokens: b.tokens }, { mode: "train" }).logits!;
      const hits = cast(equal(argMax(logits), b.targets), "f32");
      const share = (of: Tensor): Tensor => div(sum(mul(hits, of)), maximum(sum(of), 1));
      return { loss: crossEntropy(logits, b.targets, b.weights), metrics: { reading: share(b.read), recall: share(b.known) } };
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
