import { f32, type HostTensor, i32, padRows, type Rng, type Spec, sym } from "@lfm/core";
import type { EditCase } from "../cases.js";
import { type EditBatch, editBatch, promptRows } from "../inputs.js";

/** How many sequences stand for what an edit shall bring, and what it shall leave. */
export interface CaseRows {
  /** The fact in other words. A case with fewer says it in its own words again. */
  readonly paraphrases: number;
  /** Sequences where nothing shall change. A case with fewer takes those of others. */
  readonly unrelated: number;
}

/** Independent edits side by side, each with its own rows: what every one is judged by once it is written. */
export type CaseBatch = Omit<EditBatch, "subject"> &
  Readonly<
    Record<
      /** i32[edits, rows, length], f32[edits, rows, length] */
      | "rows"
      | "rowMask"
      /** i32[scored]: positions of the rows that something is asked of, row · length + position. */
      | "scored"
      /** i32[scored]: the answer's token that follows, −100 where nothing shall change. */
      | "answers"
      /** f32[scored]: how much each counts among answers, and among what shall not change; both sum to 1. */
      | "answerWeights"
      | "stayWeights",
      HostTensor
    >
  >;

/** Types of a {@link CaseBatch}. */
export function caseBatchSpec({ paraphrases, unrelated }: CaseRows): Readonly<Record<keyof CaseBatch, Spec>> {
  const [edits, scored] = [sym("edits"), [sym("scored")]];
  const rows = [edits, 1 + paraphrases + unrelated, sym("rowLength")];
  const request = [edits, sym("length")];
  return {
    tokens: { dtype: "i32", shape: request },
    mask: { dtype: "f32", shape: request },
    labels: { dtype: "i32", shape: request },
    rows: { dtype: "i32", shape: rows },
    rowMask: { dtype: "f32", shape: rows },
    scored: { dtype: "i32", shape: scored },
    answers: { dtype: "i32", shape: scored },
    answerWeights: { dtype: "f32", shape: scored },
    stayWeights: { dtype: "f32", shape: scored },
  };
}

/**
 * A batch of some cases: every edit counts alike among answers, and within an edit every token.
 * @param others where sequences are taken from that a case lacks
 * @throws {LfmError} CONFIG_INVALID for a request that makes no sense
 */
export function caseBatch(
  cases: readonly EditCase[],
  others: readonly EditCase[],
  { paraphrases, unrelated }: CaseRows,
  rng: Rng,
): CaseBatch {
  const { subject: _subject, ...request } = editBatch(cases.flatMap(({ request }) => promptRows(request, [[]])));
  const rows: (readonly number[])[] = [];
  const asked: {
    readonly row: number;
    readonly position: number;
    readonly answer: number;
    readonly answerWeight: number;
    readonly stayWeight: number;
  }[] = [];
  for (const one of cases) {
    const own = padded(rng.sample(one.paraphrases, paraphrases), paraphrases, () => one.request);
    const wordings = [one.request, ...own];
    const tokens = wordings.reduce((n, { target }) => n + target.length, 0);
    for (const { prompt, target } of wordings) {
      for (const [i, answer] of target.entries())
        asked.push({ row: rows.length, position: prompt.length + i - 1, answer, answerWeight: 1 / (cases.length * tokens), stayWeight: 0 });
      rows.push([...prompt, ...target]);
    }
    const far = padded(rng.sample(one.unrelated, unrelated), unrelated, () => anotherSequence(one, others, rng));
    const positions = far.reduce((n, row) => n + row.length, 0);
    for (const row of far) {
      for (const position of row.keys())
        asked.push({ row: rows.length, position, answer: -100, answerWeight: 0, stayWeight: 1 / (cases.length * positions) });
      rows.push(row);
    }
  }
  const { tokens, mask } = padRows(rows);
  const [count, length] = tokens.shape as readonly [number, number];
  const shape = [cases.length, count / cases.length, length];
  return {
    ...request,
    rows: { ...tokens, shape },
    rowMask: { ...mask, shape },
    scored: i32(asked.map(({ row, position }) => row * length + position)),
    answers: i32(asked.map((a) => a.answer)),
    answerWeights: f32(asked.map((a) => a.answerWeight)),
    stayWeights: f32(asked.map((a) => a.stayWeight)),
  };
}

function padded<T>(items: readonly T[], count: number, more: () => T): readonly T[] {
  return [...items, ...Array.from({ length: count - items.length }, more)];
}

/** Of a case about another subject: its prompt, or a sequence of its own. */
function anotherSequence({ subject }: EditCase, others: readonly EditCase[], rng: Rng): readonly number[] {
  const far = others.filter((r) => r.subject !== subject);
  const { request, unrelated } = rng.pick(far.length > 0 ? far : others);
  return unrelated.length > 0 ? rng.pick(unrelated) : request.prompt;
}
