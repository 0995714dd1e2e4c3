import {
  add,
  compileModel,
  concat,
  crossEntropyPerItem,
  div,
  type Engine,
  f32,
  type Hook,
  type HostTensor,
  i32,
  klDivergence,
  type Model,
  maximum,
  mean,
  mul,
  type Site,
  slice,
  sqrt,
  square,
  sum,
  sym,
  type Tensor,
} from "@lfm/core";
import { scoredHead, scoredSpec } from "@lfm/train";
import { behindFront, cutMask, cutRows, cutSpec } from "./cut-rows.js";
import type { OnModel } from "./editor.js";
import { type EditRow, editBatch, editBatchSpec } from "./inputs.js";
import { captureSite, positionMask } from "./keys.js";
import { compileEditStep, type EditStep, editThreads } from "./optimise.js";
import { padFront } from "./subject-reader.js";

/** A question about a subject: tokens, and where among them the subject ends. */
export type Question = Pick<EditRow, "tokens" | "subject">;

/** What a model says behind questions while a site gives more at their subject. */
export interface SubjectAnswers extends OnModel {
  /** @param value f32[out], what the site gives more; default nothing @returns the token that comes first behind each */
  first(questions: readonly Question[], value?: Float32Array): Promise<readonly number[]>;
}

export async function compileSubjectAnswers(engine: Engine, model: Model, site: Site): Promise<SubjectAnswers> {
  const { out } = site.weight!;
  const { tokens, mask, subject } = editBatchSpec;
  const f = await compileModel(
    engine,
    model,
    { tokens, mask, subject, asked: scoredSpec, value: { dtype: "f32", shape: [out] } },
    ({ tokens, mask, subject, asked, value }, params, at) => {
      const hooks = [moreAt(site, value, (y) => padFront(positionMask(subject, tokens), y)), scoredHead(asked, tokens)];
      return { said: at.forward(params, { tokens, mask }, { mode: "eval", hooks }).logits! };
    },
    editThreads(model),
  );
  return {
    first: async (questions, value = new Float32Array(out)) => {
      const { tokens, mask, subject } = editBatch(questions.map((q) => ({ ...q, answer: 0 })));
      const seq = tokens.shape[1]!;
      const asked = i32(questions.map((q, i) => i * seq + q.tokens.length - 1));
      const { said } = await f({ tokens, mask, subject, asked, value: f32(value, [out]) });
      const vocab = said.shape[1]!;
      return questions.map((_, i) => largest((said.data as Float32Array).subarray(i * vocab, (i + 1) * vocab)));
    },
    model: () => f.bound().model,
    swap: f.swap,
    dispose: f.dispose,
  };
}

function largest(values: Float32Array): number {
  return values.reduce((at, v, i) => (v > values[at]! ? i : at), 0);
}

const searchSpec = {
  ...cutSpec,
  /** Where questions are answered that shall be answered as before: row · seq + place among `tokens`. */
  stays: { dtype: "i32", shape: [sym("stays")] },
  /** How much each counts. */
  weights: { dtype: "f32", shape: [sym("stays")] },
} as const;

/**
 * Facts with their answers, and questions that shall be answered as before, each with its weight, as {@link compileSubjectSearch} takes them.
 * @param facts the first is the prompt alone, with which the length of the change is compared
 */
export function subjectRows(
  facts: readonly EditRow[],
  staying: readonly { readonly question: Question; readonly weight: number }[],
  { info }: Model,
): Readonly<Record<keyof typeof searchSpec, HostTensor>> {
  const rows = cutRows([...facts, ...staying.map(({ question }) => ({ ...question, answer: 0 }))], info);
  const seq = rows.tokens.shape[1]!;
  const stays = staying.map(({ question }, j) => {
    const row = facts.length + j;
    // The first of `tokens` stands at the cut.
    return row * seq + question.tokens.length - 1 - Number(rows.positions.data[row * seq]);
  });
  return { ...rows, stays: i32(stays), weights: f32(staying.map((s) => s.weight)) };
}

/**
 * δ f32[out] with which answers are likely when a site gives it more at the subject, and other questions are answered as before:
 *   mean −log p(answer) + Σ wᵢ·KL(before ‖ after) + decay·‖δ‖/‖h‖², ‖δ‖ ≤ clamp·‖h‖, h what the site gives for the first row
 */
export function compileSubjectSearch(
  engine: Engine,
  model: Model,
  site: Site,
  { weightDecay, clamp }: Readonly<Record<"weightDecay" | "clamp", number>>,
): Promise<EditStep> {
  return compileEditStep(engine, model, {
    shape: [site.weight!.out],
    batch: searchSpec,
    loss: (on, params, value, rows) => {
      const at = cutMask(rows);
      const { scored, targets, stays, weights, tokens } = rows;
      const run = behindFront(on, params, rows);
      let given: Tensor | undefined;
      const looking = captureSite(site, (_x, y) => {
        given = slice(sum(mul(y, at), 1), 0, 0, 1);
      });
      const before = run([looking, scoredHead(stays!, tokens!)]).logits!;
      const after = run([moreAt(site, value, () => at), scoredHead(concat([scored!, stays!], 0), tokens!)]).logits!;
      const answers = scored!.dim(0);
      const answer = mean(crossEntropyPerItem(slice(after, 0, 0, answers), targets!));
      const drift = sum(mul(klDivergence(before, slice(after, 0, answers, stays!.dim(0))), weights!));
      const squares = sum(square(given!));
      // The tiny term keeps the derivative of the length finite at δ = 0.
      const decay = div(mul(sqrt(add(sum(square(value)), 1e-12)), weightDecay), squares);
      const limit = mul(sqrt(squares), clamp);
      return {
        loss: add(add(answer, drift), decay),
        project: (moved) => mul(moved, div(limit, maximum(sqrt(sum(square(moved))), limit))),
      };
    },
  });
}

/** value — f32[out], given more where `at` is 1: f32[batch, seq, 1] */
function moreAt({ path }: Site, value: Tensor, at: (y: Tensor) => Tensor): Hook {
  return { matches: (s) => s.path === path, output: (y) => add(y, mul(at(y), value)) };
}
