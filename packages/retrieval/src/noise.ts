import { LfmError, type Monitor, type Rng } from "@lfm/core";
import { type Answerer, fillPrompt } from "./methods/rag.js";
import type { Passage } from "./types.js";

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
  /** Shares of irrelevant passages, 0..1 ascending. Default 0, .2, .4, .6, .8, 1 as in RGB (arXiv 2309.01431), and no relevant one at 1. */
  readonly shares?: readonly number[];
  /** Passages in a prompt, whatever the share. Relevant ones repeat when a question has fewer than are due. Default 5. */
  readonly passages?: number;
  readonly template: string;
  readonly separator: string;
  readonly rng: Rng;
}

/** [share of irrelevant passages, accuracy] for prompts with a fixed number of passages in random order. @throws {LfmError} CONFIG_INVALID */
export async function noiseCurve(options: NoiseOptions): Promise<[share: number, accuracy: number][]> {
  const { questions, distractors, shares = [0, 0.2, 0.4, 0.6, 0.8, 1], passages: count = 5 } = options;
  if (questions.length === 0) throw new LfmError("CONFIG_INVALID", "[@lfm/retrieval] the noise curve needs questions");
  if (distractors.length <= count)
    throw new LfmError("CONFIG_INVALID", `[@lfm/retrieval] the noise curve needs more than ${count} distractors`);
  const curve: [number, number][] = [];
  for (const share of shares) {
    const noisy = Math.round(share * count);
    const prompts = questions.map((question, i) => {
      const rng = options.rng.split(`noise/${share}/${i}`);
      const own = new Set(question.relevant.map((p) => p.id));
      const foreign = rng.sample(distractors, noisy + own.size).filter((p) => !own.has(p.id));
      const due = Array.from({ length: count - noisy }, (_, j) => question.relevant[j % question.relevant.length]!);
      return fillPrompt(options.template, options.separator, rng.shuffle([...due, ...foreign.slice(0, noisy)]), question.text);
    });
    const answers = await options.answer(prompts);
    curve.push([share, answers.filter((answer, i) => answer === questions[i]!.answer).length / questions.length]);
  }
  return curve;
}

/** Warns when the most noise that still leaves a relevant passage costs more than `threshold` of the accuracy without noise. */
export function noiseMonitor(curve: readonly (readonly [share: number, accuracy: number])[], threshold = 0.15): Monitor {
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
    message: `accuracy ${clean[1].toFixed(3)} with ${percent(clean[0])} irrelevant passages, ${noisy[1].toFixed(3)} with ${percent(noisy[0])}`,
    curve: curve.map(([share, accuracy]) => [share, accuracy]),
  };
}

function percent(share: number): string {
  return `${Math.round(100 * share)} %`;
}
