import {
  argMax,
  type CompileOptions,
  compileModel,
  crossEntropyPerItem,
  type Engine,
  gather,
  i32,
  LfmError,
  type Model,
  neg,
  padRows,
  sym,
  throwIfAborted,
} from "@lfm/core";
import { batchesByLength } from "@lfm/models";
import { scoredHead, scoredSpec } from "@lfm/train";

/** An answer behind a prompt, as tokens. */
export interface Continued {
  readonly prompt: readonly number[];
  readonly answer: readonly number[];
}

/** What a model makes of an answer that it is given token by token (teacher forcing). */
export interface AnswerScore {
  /** log p of each token of the answer, given the prompt and the right tokens before. */
  readonly logProbs: readonly number[];
  /** The most probable token at each of these places. */
  readonly said: readonly number[];
}

export interface ScorerOptions extends CompileOptions {
  /** Sequences per run. Default 32. */
  readonly batchSize?: number;
}

/** Scores answers of any lengths; one session serves every edit of one kind. */
export interface AnswerScorer {
  /**
   * One score for each, in the order given.
   * @throws {LfmError} SHAPE_MISMATCH for a prompt or an answer without tokens, ABORTED
   */
  score(items: readonly Continued[], signal?: AbortSignal): Promise<readonly AnswerScore[]>;
  /** Scores by another model on the same base from now on; not while it scores. @throws {LfmError} PARENT_MISMATCH */
  swap(model: Model): Promise<void>;
  dispose(): Promise<void>;
}

/**
 * Answers that differ in their last token alone are one sequence: the last token is asked for and never read, so that a one-word answer is
 * scored behind its prompt as it stands.
 * @throws {LfmError} CAPABILITY_MISSING for a model that does not predict tokens
 */
export async function createAnswerScorer(engine: Engine, model: Model, options: ScorerOptions = {}): Promise<AnswerScorer> {
  const { batchSize = 32, ...compile } = options;
  if (model.info.task !== "causal-lm")
    throw new LfmError(
      "CAPABILITY_MISSING",
      `[@lfm/editing] ${model.info.architecture} does not continue a text: it has no answers to score`,
    );
  const shape = [sym("batch"), sym("seq")];
  const asked = { dtype: "i32", shape: [sym("asked")] } as const;
  const run = await compileModel(
    engine,
    model,
    { tokens: { dtype: "i32", shape }, mask: { dtype: "f32", shape }, scored: scoredSpec, places: asked, targets: asked },
    ({ tokens, mask, scored, places, targets }, params, at) => {
      const { logits } = at.forward(params, { tokens, mask }, { mode: "eval", hooks: [scoredHead(scored, tokens)] });
      return { said: argMax(logits!), logProbs: neg(crossEntropyPerItem(gather(logits!, places), targets)) };
    },
    compile,
  );
  return {
    score: async (items, signal) => {
      const out = new Array<AnswerScore>(items.length);
      const rows = rowsOf(items);
      const lengths = rows.map((row) => row.tokens.length);
      for (const batch of batchesByLength(lengths, batchSize)) {
        throwIfAborted(signal, "[@lfm/editing] scores of answers");
        const { inputs, take } = packed(
          batch.map((r) => rows[r]!),
          items,
        );
        const { said, logProbs } = await run(inputs);
        take(said.data, logProbs.data, out);
      }
      return out;
    },
    swap: run.swap,
    dispose: run.dispose,
  };
}

/** A sequence, and the items that it answers. */
interface ScoredRow {
  readonly tokens: readonly number[];
  readonly items: number[];
}

function rowsOf(items: readonly Continued[]): readonly ScoredRow[] {
  const rows = new Map<string, ScoredRow>();
  for (const [i, { prompt, answer }] of items.entries()) {
    if (prompt.length === 0 || answer.length === 0)
      throw new LfmError(
        "SHAPE_MISMATCH",
        `[@lfm/editing] answer ${i} has ${prompt.length} tokens of prompt and ${answer.length} of its own`,
      );
    const tokens = [...prompt, ...answer.slice(0, -1)];
    const key = tokens.join(" ");
    const there = rows.get(key);
    if (there) there.items.push(i);
    else rows.set(key, { tokens, items: [i] });
  }
  return [...rows.values()];
}

type Numbers = ArrayLike<number | bigint>;

/** A batch as the session reads it: positions that predict a token that is asked for, and which of them is asked for which token. */
function packed(rows: readonly ScoredRow[], items: readonly Continued[]) {
  const { tokens, mask } = padRows(rows.map((row) => row.tokens));
  const seq = tokens.shape[1]!;
  const scored: number[] = [];
  const at = new Map<number, number>();
  const wanted = rows.flatMap((row, r) =>
    row.items.map((item) => {
      const { prompt, answer } = items[item]!;
      const places = answer.map((_, k) => {
        const position = r * seq + prompt.length - 1 + k;
        if (!at.has(position)) at.set(position, scored.push(position) - 1);
        return at.get(position)!;
      });
      return { item, places, answer };
    }),
  );
  const inputs = {
    tokens,
    mask,
    scored: i32(scored),
    places: i32(wanted.flatMap((w) => w.places)),
    targets: i32(wanted.flatMap((w) => w.answer)),
  };
  const take = (said: Numbers, logProbs: Numbers, into: AnswerScore[]): void => {
    let next = 0;
    for (const { item, places } of wanted)
      into[item] = { logProbs: places.map(() => Number(logProbs[next++])), said: places.map((p) => Number(said[p])) };
  };
  return { inputs, take };
}
