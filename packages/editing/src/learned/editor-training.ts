/**
 * Learning to edit (as in arXiv 2110.11309, section 3.2, and 2104.08164, section 2.2): write a fact by the editor, see what the model says of it in other
 * words and of what has nothing to do with it, and go down the gradient of that by the editor's weights. All of it is one graph; edits of a
 * batch are independent of each other, each lies on rows of its own as a product of two narrow matrices.
 */
import {
  add,
  argMax,
  cast,
  compile,
  crossEntropyPerItem,
  type Dim,
  equal,
  type Hook,
  type HostTensor,
  klDivergence,
  type MethodContext,
  type Model,
  matmul,
  mul,
  type Optimizer,
  type ParamTree,
  reshape,
  type Site,
  type Spec,
  sum,
  type Tensor,
} from "@lfm/core";
import { clipNorm, type FitResult, fit, fitContext, type LossResult, scoredHead, type TrainingState } from "@lfm/train";
import type { EditCase, SplitCases } from "../cases.js";
import { type CaseBatch, type CaseRows, caseBatch, caseBatchSpec } from "./case-batches.js";
import type { UpdateFactors } from "./mend-network.js";

type TracedBatch = Readonly<Record<keyof CaseBatch, Tensor>>;

/** What is to learn. */
export interface EditorNetwork {
  readonly sites: readonly Site[];
  readonly trainable: Readonly<Record<string, HostTensor>>;
  readonly buffers: Readonly<Record<string, HostTensor>>;
  readonly optimizer: Optimizer;
  /** @param see false: what it keeps of what it has seen stays as it is */
  updates(
    params: ParamTree,
    batch: TracedBatch,
    see: boolean,
  ): {
    readonly updates: Readonly<Record<string, UpdateFactors>>;
    readonly buffers: Readonly<Record<string, Tensor>>;
  };
}

export interface EditorTrainingOptions extends CaseRows {
  readonly steps: number;
  readonly lr: number;
  /** Cases of a step. */
  readonly edits: number;
  /** Weight of the edit's loss; that of what shall not change is 1. */
  readonly editFactor: number;
  readonly clipNorm: number;
  readonly validEvery: number;
  readonly patience?: number | undefined;
}

/** Of cases, in shares of 1, and the loss. */
export interface EditorScores {
  readonly loss: number;
  /** −log p of the answer, a token. */
  readonly answer: number;
  /** KL from before, a token. */
  readonly drift: number;
  /** Tokens of answers that the edited model names first. */
  readonly written: number;
  /** Positions that have nothing to do with the edit where it names first what it did before. */
  readonly unchanged: number;
}

/** Most cases that are measured on the way. */
const MEASURED = 64;

/**
 * Trains an editor on cases, and measures it on others; the best state is kept.
 * @returns its tensors, and what it scores on held-out cases (of at most 64)
 * @throws {LfmError} NUMERIC_DIVERGED, ABORTED; CONFIG_INVALID for a request that makes no sense
 */
export async function trainEditor(
  model: Model,
  network: EditorNetwork,
  { train, heldOut }: SplitCases,
  options: EditorTrainingOptions,
  context: MethodContext,
  phase: string,
): Promise<FitResult & { readonly heldOut: EditorScores }> {
  const rng = context.rng.split("cases");
  const batchOf = (cases: readonly EditCase[], name: string): CaseBatch => caseBatch(cases, train, options, rng.split(name));
  const measured = heldOut.slice(0, MEASURED);
  const held = Array.from({ length: Math.ceil(measured.length / options.edits) }, (_, i) =>
    caseBatch(measured.slice(i * options.edits, (i + 1) * options.edits), heldOut, options, rng.split(`held out ${i}`)),
  );
  const scorer = await compileScores(model, network, options, context);
  const measure = async (state: Pick<TrainingState, "params" | "buffers">): Promise<Readonly<Record<keyof EditorScores, number>>> =>
    meanScores(await Promise.all(held.map(async (batch) => [await scorer.score(state, batch), batch.tokens.shape[0]!] as const)));
  try {
    const fitted = await fit({
      ...fitContext(context, phase),
      trainable: network.trainable,
      buffers: network.buffers,
      frozen: model.params,
      batch: caseBatchSpec(options),
      batches: (number) => batchOf(rng.split(`batch ${number}`).sample(train, options.edits), `rows ${number}`),
      loss: (params, batch) => editedLoss(model, network, params, batch as TracedBatch, options, true),
      optimizer: network.optimizer,
      gradients: [clipNorm(options.clipNorm)],
      lr: options.lr,
      steps: options.steps,
      validation: {
        every: options.validEvery,
        measure,
        metric: "loss",
        better: "lower",
        ...(options.patience === undefined ? {} : { patience: options.patience }),
      },
    });
    return { ...fitted, heldOut: await measure(fitted) };
  } finally {
    await scorer.dispose();
  }
}

/** What edits of a batch bring: the loss, what it is made of, and shares of right tokens. */
function editedLoss(
  model: Model,
  network: EditorNetwork,
  params: ParamTree,
  batch: TracedBatch,
  { editFactor }: Pick<EditorTrainingOptions, "editFactor">,
  see: boolean,
): LossResult & { readonly metrics: Readonly<Record<Exclude<keyof EditorScores, "loss">, Tensor>> } {
  const { updates, buffers } = network.updates(params, batch, see);
  const [edits, length] = [batch.rows.dim(0), batch.rows.dim(2)];
  const input = { tokens: reshape(batch.rows, [-1, length]), mask: reshape(batch.rowMask, [-1, length]) };
  const head = scoredHead(batch.scored, input.tokens);
  const said = (hooks: readonly Hook[]): Tensor => model.forward(params, input, { mode: "eval", hooks: [...hooks, head] }).logits!;
  const after = said([writtenHook(network.sites, updates, edits)]);
  const before = said([]);
  const { answers, answerWeights, stayWeights } = batch;
  const answer = sum(mul(crossEntropyPerItem(after, answers), answerWeights));
  const drift = sum(mul(klDivergence(before, after), stayWeights));
  const share = (right: Tensor, weights: Tensor): Tensor => sum(mul(cast(right, "f32"), weights));
  const first = argMax(after);
  return {
    loss: add(mul(answer, editFactor), drift),
    metrics: {
      answer,
      drift,
      written: share(equal(first, answers), answerWeights),
      unchanged: share(equal(first, argMax(before)), stayWeights),
    },
    buffers,
  };
}

/** Adds what the update of each edit gives to the rows of that edit: x·(W + Σ value·keyᵀ)ᵀ without the sum. */
function writtenHook(sites: readonly Site[], updates: Readonly<Record<string, UpdateFactors>>, edits: Dim): Hook {
  const paths = new Set(sites.map((s) => s.path));
  return {
    matches: (s) => paths.has(s.path),
    output: (y, x, { path }) => {
      const { keys, values } = updates[path]!;
      const own = reshape(x, [edits, -1, x.dim(-1)]);
      return add(y, reshape(matmul(matmul(own, keys, { transB: true }), values), y.shape));
    },
  };
}

interface Scorer {
  score(state: Pick<TrainingState, "params" | "buffers">, batch: CaseBatch): Promise<EditorScores>;
  dispose(): Promise<void>;
}

async function compileScores(
  model: Model,
  network: EditorNetwork,
  options: EditorTrainingOptions,
  { engine }: MethodContext,
): Promise<Scorer> {
  const typeOf = ({ dtype, shape }: HostTensor): Spec => ({ dtype, shape });
  const specs = (tensors: Readonly<Record<string, HostTensor>>): Record<string, Spec> =>
    Object.fromEntries(Object.entries(tensors).map(([name, t]) => [name, typeOf(t)]));
  const inputs = { batch: caseBatchSpec(options), params: specs(network.trainable), buffers: specs(network.buffers) };
  const f = await compile(
    engine,
    inputs,
    ({ batch, params, buffers }, frozen: ParamTree) => {
      const all = { ...frozen, ...buffers, ...params };
      const { loss, metrics } = editedLoss(model, network, all, batch, options, false);
      return { loss, ...metrics };
    },
    { frozen: model.params },
  );
  return {
    score: async ({ params, buffers }, batch) => {
      const found = await f({ batch, params, buffers });
      const number = (t: HostTensor): number => Number(t.data[0]);
      const { loss, answer, drift, written, unchanged } = found;
      return { loss: number(loss), answer: number(answer), drift: number(drift), written: number(written), unchanged: number(unchanged) };
    },
    dispose: f.dispose,
  };
}

function meanScores(scores: readonly (readonly [EditorScores, edits: number])[]): Record<keyof EditorScores, number> {
  const all = scores.reduce((n, [, edits]) => n + edits, 0);
  const mean = (name: keyof EditorScores): number => scores.reduce((s, [score, edits]) => s + score[name] * edits, 0) / all;
  return { loss: mean("loss"), answer: mean("answer"), drift: mean("drift"), written: mean("written"), unchanged: mean("unchanged") };
}
