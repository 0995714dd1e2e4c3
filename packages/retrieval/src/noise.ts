import { LfmError, type Monitor, type Rng } from "@lfm/core";
import type { Passage } from "@lfm/data";
import { type Answerer, fillPrompt } from "./methods/rag.js";

export interface NoiseQuestion {
  readonly text: string;
  readonly answer: string;
  /** Passages that hold the answer. */
  readonly relevant: readonly Passage[];
}

export interface NoiseOptions {
  readonly questions: readonly NoiseQuestion[];
  /** Passages to choose irrelevant ones from; those that are relevant to a question are left out for it. */
  readonly distractors: readonly Passage[];
  readonly answer: Answerer;
  /**
   * Passages in a prompt, in random order. Default 1 relevant one with 0, 1, 2, 4 and 8 irrelevant ones, and 5 irrelevant ones alone
   * (RGB, arXiv 2309.01431, goes from 0 to 80 %).
   */
  readonly mixes?: readonly { readonly relevant: number; readonly irrelevant: number }[];
  readonly template: string;
  readonly separator: string;
  readonly rng: Rng;
}

const MIXES = [0, 1, 2, 4, 8].map((irrelevant) => ({ relevant: 1, irrelevant }));

/**
 * Accuracy against the share of irrelevant passages in the prompt, in the order of the mixes.
 * @throws {LfmError} CONFIG_INVALID without questions, or where relevant or irrelevant passages do not suffice
 */
export async function noiseCurve(options: NoiseOptions): Promise<[share: number, accuracy: number][]> {
  const { questions, distractors, mixes = [...MIXES, { relevant: 0, irrelevant: 5 }] } = options;
  if (questions.length === 0) throw new LfmError("CONFIG_INVALID", "[@lfm/retrieval] the noise curve needs questions");
  const curve: [number, number][] = [];
  for (const { relevant, irrelevant } of mixes) {
    const prompts = questions.map((question, i) => {
      const rng = options.rng.split(`noise/${relevant}/${irrelevant}/${i}`);
      const own = new Set(question.relevant.map((p) => p.id));
      const foreign = rng.sample(distractors, irrelevant + own.size).filter((p) => !own.has(p.id));
      if (question.relevant.length < relevant || foreign.length < irrelevant) {
        throw new LfmError("CONFIG_INVALID", `[@lfm/retrieval] question ${i} has too few passages for ${relevant} + ${irrelevant}`);
      }
      const chosen = rng.shuffle([...rng.sample(question.relevant, relevant), ...foreign.slice(0, irrelevant)]);
      return fillPrompt(options.template, options.separator, chosen, question.text);
    });
    const answers = await options.answer(prompts);
    const right = answers.filter((answer, i) => answer === questions[i]!.answer).length;
    curve.push([irrelevant / Math.max(1, relevant + irrelevant), right / questions.length]);
  }
  return curve;
}

/**
 * Warns when the most noise that still leaves a relevant passage costs more than `threshold` of the accuracy without noise.
 * @param noise what it is, for the message
 */
export function noiseMonitor(
  curve: readonly (readonly [share: number, accuracy: number])[],
  threshold = 0.15,
  noise: "irrelevant" | "contradicting" = "irrelevant",
): Monitor {
  const answerable = curve.filter(([share]) => share < 1);
  const clean = answerable[0];
  const noisy = answerable.at(-1);
  if (clean === undefined || noisy === undefined) {
    return { id: "retrieval-noise", value: null, threshold, warning: false, message: "no prompt had a relevant passage" };
  }
  const lost = clean[1] - noisy[1];
  return {
    id: "retrieval-noise",
    value: lost,
    threshold,
    warning: lost > threshold,
    message: `accuracy ${clean[1].toFixed(3)} with ${percent(clean[0])} ${noise} passages, ${noisy[1].toFixed(3)} with ${percent(noisy[0])}`,
    curve: curve.map(([share, accuracy]) => [share, accuracy]),
  };
}

function percent(share: number): string {
  return `${Math.round(100 * share)} %`;
}
