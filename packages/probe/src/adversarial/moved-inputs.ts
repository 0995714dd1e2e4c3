import {
  add,
  argMax,
  cast,
  compileModel,
  crossEntropyPerItem,
  type Engine,
  equal,
  expandDims,
  grad,
  type Hook,
  type HostTensor,
  LfmError,
  type Model,
  mul,
  sum,
  sym,
  type Tensor,
  weightOf,
} from "@lfm/core";
import type { Batch } from "@lfm/train";
import { batchesOf, type ProbedExamples, sizeOfBatch } from "../inputs.js";

/** A victim whose inputs can be moved by real numbers: pixels and features themselves, of texts what tokens are embedded as. */
export interface MovedInputs {
  readonly batches: readonly Batch[];
  /** Examples in all. */
  readonly count: number;
  /** Numbers of a row of a batch that can be moved. */
  width(batch: Batch): number;
  /** Where a row is now, before it is moved; nothing for texts, whose vectors are the model's own. f32[rows · width] */
  values(batch: Batch): Float32Array | undefined;
  /** What one unit of ε is: 1, for texts the mean norm of the vectors of tokens. */
  readonly unit: number;
  /** The vectors of tokens, where texts are read: f32[vocabulary, hidden]. */
  readonly table: HostTensor | undefined;
  /** @param moved f32[rows · width] is added to the inputs; padding is not moved */
  answers(batch: Batch, moved: Float32Array): Promise<{ readonly losses: Float32Array; readonly right: Float32Array }>;
  /** The same, with the derivative of the sum of losses by what is moved, f32[rows · width]. */
  gradients(
    batch: Batch,
    moved: Float32Array,
  ): Promise<{ readonly losses: Float32Array; readonly right: Float32Array; readonly gradient: Float32Array }>;
  dispose(): Promise<void>;
}

/**
 * Compiles a victim for moved inputs.
 * @throws {LfmError} CAPABILITY_MISSING for examples that are not of classes, or a model whose inputs are no real numbers and have no table
 */
export async function compileMoved(engine: Engine, victim: Model, examples: ProbedExamples): Promise<MovedInputs> {
  const { info } = victim;
  const table = info.input === "tokens" ? info.sites.find((s) => s.kind === "embedding" && s.weight)?.weight?.name : undefined;
  if (info.input === "tokens" ? !table : !examples.batch.x)
    throw new LfmError(
      "CAPABILITY_MISSING",
      `[@lfm/probe] the inputs of ${info.architecture} cannot be moved: no items x, no table of tokens`,
    );
  const shape = info.input === "tokens" ? [sym("batch"), sym("seq"), info.hiddenSize] : examples.batch.x!.shape;
  const moved = { dtype: "f32", shape } as const;
  const inputs = { batch: examples.batch, moved };
  const lossesOf = (batch: Batch<Tensor>, by: Tensor, at: Model, params: Parameters<Model["forward"]>[0]) => {
    const [read, hooks] = table ? [batch, [movedEmbeddings(by, batch.mask)]] : [{ ...batch, x: add(batch.x!, by) }, []];
    const { logits, targets } = examples.scored(at.forward(params, examples.input(read), { mode: "eval", hooks }), read);
    if (logits.rank !== 2 || targets.dtype !== "i32")
      throw new LfmError(
        "CAPABILITY_MISSING",
        `[@lfm/probe] "${examples.name}" is not of classes: nothing that an input could be taken for`,
      );
    return { losses: crossEntropyPerItem(logits, targets), right: cast(equal(argMax(logits), targets), "f32") };
  };
  const plain = await compileModel(engine, victim, inputs, (i, params, at) => lossesOf(i.batch, i.moved, at, params));
  const derived = await compileModel(engine, victim, inputs, (i, params, at) => {
    const { losses, right } = lossesOf(i.batch, i.moved, at, params);
    return { losses, right, gradient: grad(sum(losses), i.moved) };
  });
  const shapeOf = (batch: Batch): readonly number[] => (table ? [...batch.tokens!.shape, info.hiddenSize] : batch.x!.shape);
  const given = (batch: Batch, data: Float32Array): { batch: Batch; moved: HostTensor } => ({
    batch,
    moved: { dtype: "f32", shape: shapeOf(batch), data },
  });
  const batches = batchesOf(examples);
  const vectors = table === undefined ? undefined : weightOf(victim, table);
  return {
    batches,
    count: batches.reduce((n, b) => n + sizeOfBatch(b), 0),
    width: (batch) =>
      shapeOf(batch)
        .slice(1)
        .reduce((a, b) => a * b, 1),
    values: (batch) => (table ? undefined : (batch.x!.data as Float32Array)),
    unit: vectors ? meanNorm(vectors) : 1,
    table: vectors,
    answers: async (batch, by) => {
      const { losses, right } = await plain(given(batch, by));
      return { losses: losses.data as Float32Array, right: right.data as Float32Array };
    },
    gradients: async (batch, by) => {
      const { losses, right, gradient } = await derived(given(batch, by));
      return { losses: losses.data as Float32Array, right: right.data as Float32Array, gradient: gradient.data as Float32Array };
    },
    dispose: async () => {
      await plain.dispose();
      await derived.dispose();
    },
  };
}

/** Adds to what the tokens of a text are embedded as. by — f32[batch, seq, hidden]; mask — f32[batch, seq] */
function movedEmbeddings(by: Tensor, mask: Tensor | undefined): Hook {
  return {
    matches: (site) => site.kind === "embedding",
    sequence: (s) => ({ ...s, embeddings: add(s.embeddings, mask ? mul(by, expandDims(mask, -1)) : by) }),
  };
}

/** Mean length of rows. t — f32[rows, width] */
function meanNorm(t: HostTensor): number {
  const [rows, width] = t.shape as readonly [number, number];
  let total = 0;
  for (let r = 0; r < rows; r++) {
    let squares = 0;
    for (let i = r * width; i < (r + 1) * width; i++) squares += Number(t.data[i]) ** 2;
    total += Math.sqrt(squares);
  }
  return total / rows;
}
