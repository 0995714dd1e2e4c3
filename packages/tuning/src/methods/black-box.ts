/**
 * Black-box tuning (arXiv 2201.03514): a prompt p = p₀ + A·z is searched for by CMA-ES over z, A being drawn at random; the model is only asked for
 * scores, behind a meter.
 */
import { type Delta, f32, type HostTensor, LfmError, makeDelta, parentInput, type Rng, throwIfAborted } from "@lfm/core";
import { cmaEs, minimise } from "@lfm/core/linalg";
import { type PromptBox, promptBoxInput, softPrompt } from "@lfm/models";
import { z } from "zod";
import { defineDeltaMethod } from "../define-tuning.js";
import { type ChoiceRows, choicesInput } from "../examples/choice-rows.js";
import { PROMPT_TENSOR, promptForm } from "../prompt-form.js";

const config = z.strictObject({
  numVirtualTokens: z.number().int().positive().default(50).describe("length v of the prompt, tokens"),
  dimensions: z.number().int().min(2).default(500).describe("dimensions k of the random subspace that is searched"),
  popsize: z.number().int().min(2).default(20).describe("prompts of one generation of CMA-ES"),
  budget: z.number().int().positive().default(8000).describe("prompts that are tried; each is a query for every example"),
  sigma: z.number().positive().default(1).describe("standard deviation σ of the first steps in the subspace"),
  alpha: z.number().positive().default(1).describe("scale α of the subspace: A is drawn from N(0, α·spread/(√k·σ))"),
  loss: z
    .enum(["cross-entropy", "hinge"])
    .default("cross-entropy")
    .describe("over the answers' scores: −log p of the right one, or how far it is from 2 above the best other one"),
  initVocabulary: z.number().int().positive().default(5000).describe("p₀ are random words of so many first rows of the vocabulary"),
});
type Config = z.output<typeof config>;

export interface BlackBoxTuningInputs {
  readonly box: PromptBox;
  readonly choices: ChoiceRows;
  /** Hash of the model behind the box, recorded in the delta. */
  readonly parent?: string;
}

export interface BlackBoxTuningOutput {
  readonly delta: Delta;
  /** Rows that the box was asked about. */
  readonly queries: number;
  /** loss: [evaluation, least so far][] */
  readonly curves: { readonly loss: readonly (readonly [number, number])[] };
}

const { type, write } = promptForm("PROMPT_TUNING");

export const blackBox = defineDeltaMethod<BlackBoxTuningInputs, BlackBoxTuningOutput, typeof config>({
  id: "black-box",
  paradigm: "tuning",
  summary: "Searches for a prompt by asking a model for scores, without its weights or gradients.",
  paper: {
    title: "Black-Box Tuning for Language-Model-as-a-Service",
    arxiv: "2201.03514",
    year: 2022,
    survey: "3.2 input engineering",
  },
  needs: ["logits"],
  inputs: {
    box: { kind: promptBoxInput, as: "model", about: "is asked for scores alone" },
    choices: choicesInput,
    parent: parentInput,
  },
  config,
  delta: { hooks: (_c, t) => [softPrompt(t[PROMPT_TENSOR]!)] },
  peft: { type, write },
  run: async ({ box, choices, parent }, c, context): Promise<BlackBoxTuningOutput> => {
    const { prompts: sequences, labels, answers } = choices;
    const rows = sequences.length;
    if (box.offers === "labels")
      throw new LfmError("CAPABILITY_MISSING", "[@lfm/tuning] black-box: the box tells labels alone, and a search needs scores", {
        hint: "open it with offers logits or probabilities",
      });
    const evaluations = Math.min(c.budget, Math.floor((box.budget - box.queries) / rows));
    if (evaluations === 0)
      throw new LfmError(
        "BUDGET_EXCEEDED",
        `[@lfm/tuning] black-box: one prompt takes ${rows} queries, and ${box.budget - box.queries} are left`,
        {
          details: { queries: box.queries, budget: box.budget, asked: rows },
        },
      );
    const before = box.queries;
    const promptOf = subspace(box, c, context.rng);
    const places = answers.map((a) => a.place);
    const lossOf = c.loss === "hinge" ? hinge : crossEntropy;
    const search = cmaEs({
      start: new Array<number>(c.dimensions).fill(0),
      sigma: c.sigma,
      population: c.popsize,
      rng: context.rng.split("search"),
    });
    const found = await minimise(
      async (point) => {
        throwIfAborted(context.signal, "[@lfm/tuning] black-box");
        const scores = await box.predict({ sequences, prompt: promptOf(point) });
        const width = scores.shape[1]!;
        let sum = 0;
        for (const [i, right] of labels.entries()) {
          const own = places.map((place) => score(scores, i * width + place, box.offers));
          sum += lossOf(own, right);
        }
        return sum / rows;
      },
      search,
      {
        evaluations,
        onEvaluation: (done, best) =>
          context.progress({
            phase: "search",
            done,
            total: evaluations,
            unit: "prompt",
            values: { loss: best, queries: box.queries - before },
          }),
      },
    );
    const delta = makeDelta(blackBox, c, { [PROMPT_TENSOR]: promptOf(found.x) }, { parent: parent ?? null });
    return { delta, queries: box.queries - before, curves: { loss: found.curve } };
  },
});

/** z ↦ p₀ + A·z, f32[v, width]: the subspace is drawn once. */
function subspace(box: PromptBox, c: Config, rng: Rng): (z: readonly number[]) => HostTensor {
  const [v, k] = [c.numVirtualTokens, c.dimensions];
  const words = rng.split("init");
  const start = box.vectors(Array.from({ length: v }, () => words.int(Math.min(box.vocabulary, c.initVocabulary))));
  const size = v * box.width;
  const basis = rng.split("subspace").normalArray(size * k, (c.alpha * box.spread) / (Math.sqrt(k) * c.sigma));
  return (point) => {
    const out = Float32Array.from(start.data, Number);
    for (let i = 0; i < size; i++) {
      let sum = 0;
      for (let j = 0; j < k; j++) sum += basis[i * k + j]! * point[j]!;
      out[i] = out[i]! + sum;
    }
    return f32(out, [v, box.width]);
  };
}

/** log p up to what all answers have in common. */
function score(scores: HostTensor, at: number, offers: PromptBox["offers"]): number {
  const value = Number(scores.data[at]);
  return offers === "logits" ? value : Math.log(Math.max(value, Number.MIN_VALUE));
}

function crossEntropy(scores: readonly number[], right: number): number {
  const most = Math.max(...scores);
  return most + Math.log(scores.reduce((sum, s) => sum + Math.exp(s - most), 0)) - scores[right]!;
}

/** How far an answer should be above the best other one. */
const MARGIN = 2;

function hinge(scores: readonly number[], right: number): number {
  const other = scores.reduce((most, s, k) => (k === right ? most : Math.max(most, s)), Number.NEGATIVE_INFINITY);
  return Math.max(0, MARGIN - scores[right]! + other);
}
