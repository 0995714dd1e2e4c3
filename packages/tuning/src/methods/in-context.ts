/**
 * In-context learning: examples stand before every question as words, nothing is trained. Contextual calibration (arXiv 2102.09690) takes out of the
 * scores of the answers what the examples make the model prefer when nothing is asked.
 */
import {
  add,
  type Delta,
  expandDims,
  f32,
  type Hook,
  i32,
  LfmError,
  learnerInput,
  type MethodContext,
  type Model,
  makeDelta,
  mul,
  oneHot,
  type ParamTree,
  parentInput,
  type Rng,
  sum,
  throwIfAborted,
  withDeltas,
} from "@lfm/core";
import type { Examples } from "@lfm/data";
import { createPredictor, idsOfText, promptIds, requireRead, type TextRules, textRulesInput, tokensInFront } from "@lfm/models";
import { z } from "zod";
import { defineDeltaMethod, type TuningOutput } from "../define-tuning.js";
import { choiceRows, demonstrationsInput } from "../examples/choice-rows.js";
import { joint, single } from "../examples/token-rows.js";

/** i32[n] of what stands in front; of calibrated ones f32[k] that is added to the scores of k answers, and i32[k] of their tokens. */
const [TOKENS, SHIFT, PLACES] = ["prompt_tokens", "calibration", "answer_tokens"] as const;

const config = z.strictObject({
  shots: z.number().int().positive().default(8).describe("examples k in front of a question, as many of each answer as can be"),
  instruction: z.string().default("").describe("what stands before the examples"),
  separator: z.string().default("\n\n").describe("what stands behind the instruction and behind each example"),
  calibrate: z.boolean().default(true).describe("calibrate the answers, which then are a few that begin with different tokens"),
  contentFree: z
    .array(z.string())
    .min(1)
    .default(["N/A", "[MASK]", ""])
    .describe("what stands for a question without content, between what all prompts begin and end with"),
  maxTokens: z
    .number()
    .int()
    .positive()
    .optional()
    .describe("tokens in front of a question at most; examples that do not fit are left out"),
});

export interface InContextInputs {
  readonly model: Model;
  /** Prompts with completions, or texts with labels. */
  readonly demonstrations: Examples;
  readonly text: TextRules;
  /** Hash of the base, recorded in the delta. */
  readonly parent?: string;
}

export const inContext = defineDeltaMethod<InContextInputs, TuningOutput, typeof config>({
  id: "in-context",
  paradigm: "tuning",
  summary: "Puts examples before every question, and calibrates what they make the model prefer; nothing is trained.",
  paper: {
    title: "Calibrate Before Use: Improving Few-Shot Performance of Language Models",
    arxiv: "2102.09690",
    year: 2021,
    survey: "3.2 input engineering",
  },
  needs: ["logits", "tokenizer"],
  inputs: {
    model: learnerInput,
    demonstrations: demonstrationsInput,
    text: textRulesInput,
    parent: parentInput,
  },
  config,
  delta: { hooks: (_c, t) => [tokensInFront(t[TOKENS]!), ...(t[SHIFT] ? [calibration(t)] : [])] },
  run: async ({ model, demonstrations, text, parent }, c, context): Promise<TuningOutput> => {
    throwIfAborted(context.signal, "[@lfm/tuning] in-context");
    if (model.info.task !== "causal-lm")
      throw new LfmError(
        "CAPABILITY_MISSING",
        `[@lfm/tuning] in-context: ${model.info.architecture} is a ${model.info.task}, no causal language model`,
      );
    const pairs = pairsOf(demonstrations);
    const most = Math.min(
      c.maxTokens ?? Number.POSITIVE_INFINITY,
      (model.info.maxLength ?? Number.POSITIVE_INFINITY) - longestOf(pairs, text),
    );
    const { tokens, shown } = frontOf(pairs, text, c, most, context.rng.split("examples"));
    const wanted = Math.min(c.shots, pairs.length);
    context.log(`${shown} examples in front, ${tokens.length} tokens${shown < wanted ? ` (${wanted} do not fit into ${most})` : ""}`);
    const front = { [TOKENS]: i32(tokens) };
    const make = (tensors: Delta["tensors"]): Delta => makeDelta(inContext, c, tensors, { parent: parent ?? null });
    const tensors = c.calibrate ? { ...front, ...(await calibrated(model, make(front), demonstrations, pairs, text, c, context)) } : front;
    context.progress({ phase: "examples", done: 1, total: 1, unit: "prompt" });
    const delta = make(tensors);
    return { delta, model: withDeltas(model, [delta]), curves: {} };
  },
});

interface Pair {
  readonly prompt: string;
  readonly answer: string;
}

/** @throws {LfmError} CONFIG_INVALID for examples that answer nothing */
function pairsOf(examples: Examples): readonly Pair[] {
  switch (examples.kind) {
    case "completion":
      return examples.rows.map((r) => ({ prompt: r.prompt, answer: r.completion }));
    case "classification":
      return examples.rows.map((r) => ({ prompt: single(r), answer: r.label }));
    default:
      throw new LfmError(
        "CONFIG_INVALID",
        `[@lfm/tuning] in-context: examples show how a prompt is answered, and these are ${examples.kind}`,
        {
          hint: "give prompt + completion, or text + label",
        },
      );
  }
}

const shownAs = ({ prompt, answer }: Pair): string => `${prompt}${joint(prompt, answer)}`;

function longestOf(pairs: readonly Pair[], text: TextRules): number {
  return text.start.length + Math.max(...pairs.map((pair) => idsOfText(text, shownAs(pair)).length));
}

/** As many examples as are wanted and fit, in an order of the draw. @throws {LfmError} CONFIG_INVALID where none fits */
function frontOf(
  pairs: readonly Pair[],
  text: TextRules,
  c: z.output<typeof config>,
  most: number,
  rng: Rng,
): { readonly tokens: readonly number[]; readonly shown: number } {
  const chosen = shuffled(balanced(pairs, c.shots, rng), rng.split("order"));
  const instruction = c.instruction === "" ? "" : `${c.instruction}${c.separator}`;
  for (let shown = chosen.length; shown > 0; shown--) {
    const examples = chosen.slice(0, shown).map((pair) => `${shownAs(pair)}${c.separator}`);
    const tokens = [...text.start, ...idsOfText(text, `${instruction}${examples.join("")}`)];
    if (tokens.length > most) continue;
    requireRead(text, tokens);
    return { tokens, shown };
  }
  throw new LfmError("CONFIG_INVALID", `[@lfm/tuning] in-context: not one example fits into ${most} tokens in front of a question`, {
    hint: "give shorter examples, or more maxTokens",
  });
}

/** So many examples, of each answer in turn. */
function balanced(pairs: readonly Pair[], count: number, rng: Rng): readonly Pair[] {
  const groups = new Map<string, Pair[]>();
  for (const pair of shuffled(pairs, rng.split("choice")))
    groups.set(pair.answer.trim(), [...(groups.get(pair.answer.trim()) ?? []), pair]);
  const turns = Math.max(...[...groups.values()].map((g) => g.length));
  const inTurn = Array.from({ length: turns }, (_, i) => [...groups.values()].flatMap((g) => g.slice(i, i + 1))).flat();
  return inTurn.slice(0, count);
}

function shuffled<T>(items: readonly T[], rng: Rng): readonly T[] {
  const out = [...items];
  for (let i = out.length - 1; i > 0; i--) {
    const j = rng.int(i + 1);
    [out[i], out[j]] = [out[j]!, out[i]!];
  }
  return out;
}

/** W = diag(p̂)⁻¹ of section 3 on the scores: −log p̂ of each answer, p̂ the mean over questions without content, without what all have in common. */
async function calibrated(
  model: Model,
  front: Delta,
  examples: Examples,
  pairs: readonly Pair[],
  text: TextRules,
  c: z.output<typeof config>,
  { engine }: MethodContext,
): Promise<Delta["tensors"]> {
  const places = choiceRows(examples, text).answers.map((a) => a.place);
  const [before, behind] = around(pairs.map((pair) => pair.prompt));
  const questions = c.contentFree
    .map((nothing) => `${before}${nothing}${behind}`)
    .filter((question) => idsOfText(text, question).length > 0);
  if (questions.length === 0)
    throw new LfmError("CONFIG_INVALID", "[@lfm/tuning] in-context: no question without content has a token", {
      hint: '--content-free "N/A"',
    });
  const rows = questions.map((question) => promptIds(text, question));
  for (const ids of rows) requireRead(text, ids);
  const predictor = await createPredictor(engine, withDeltas(model, [front]), "next");
  try {
    const p = new Float64Array(places.length);
    for (const { data } of await predictor.predict(rows)) {
      const scores = places.map((place) => Number(data[place]));
      const most = Math.max(...scores);
      const total = scores.reduce((s, v) => s + Math.exp(v - most), 0);
      for (const [k, v] of scores.entries()) p[k]! += Math.exp(v - most) / total / rows.length;
    }
    const logs = Array.from(p, Math.log);
    const mean = logs.reduce((a, b) => a + b, 0) / logs.length;
    return { [SHIFT]: f32(logs.map((v) => mean - v)), [PLACES]: i32(places) };
  } finally {
    await predictor.dispose();
  }
}

/** What all prompts begin and end with, in whole words. */
export function around(prompts: readonly string[]): readonly [before: string, behind: string] {
  const words = prompts.map((prompt) => prompt.match(/\s+|\S+/g) ?? []);
  const least = Math.min(...words.map((w) => w.length));
  const [first] = words;
  let before = 0;
  while (before < least && words.every((w) => w[before] === first![before])) before++;
  let behind = 0;
  while (behind < least - before && words.every((w) => w.at(-1 - behind) === first!.at(-1 - behind))) behind++;
  return [first!.slice(0, before).join(""), first!.slice(first!.length - behind).join("")];
}

/** What is added to the scores of the answers' tokens. */
function calibration(t: ParamTree): Hook {
  return {
    matches: (site) => site.kind === "head",
    output: (y) => add(y, sum(mul(oneHot(t[PLACES]!, y.dim(-1)), expandDims(t[SHIFT]!, 1)), 0)),
  };
}
