import type { AnswerScore } from "./answer-scorer.js";
import { type EditProbe, probeKinds } from "./probes.js";

/** How an answer is judged. Each is named as in the files of results that it comes from; which is meant decides the number, so all are given. */
export interface Protocol {
  readonly unit: "points" | "probability";
  readonly about: string;
  /** Names in the results of others. */
  readonly named: string;
}

/**
 * ROME and MEMIT write `*_success` and `*_diff` on CounterFact and `*_acc` on zsRE, EasyEdit `*_acc` under `metric_meta`; scores of free
 * generation are those that "The Mirage of Model Editing" (arXiv 2502.11177) asks for.
 */
export const protocols = {
  success: {
    unit: "points",
    about: "the right answer is likelier per token than the rival",
    named: "rewrite_success, paraphrase_success, neighborhood_success (ROME, MEMIT: ES, PS, NS)",
  },
  difference: {
    unit: "probability",
    about: "likelihood per token of the right answer, less that of the rival",
    named: "rewrite_diff, paraphrase_diff, neighborhood_diff (ROME: EM, PM, NM)",
  },
  "token-accuracy": {
    unit: "points",
    about: "share of the answer's tokens that come first, each behind the right ones (teacher forcing)",
    named: "rewrite_acc, rephrase_acc (EasyEdit, teacher-forced), *_acc (MEMIT on zsRE)",
  },
  exact: { unit: "points", about: "all of them come first", named: "exact match, teacher-forced" },
  generated: { unit: "points", about: "what the model goes on with by itself begins with the answer", named: "free generation" },
  ended: { unit: "points", about: "it is the answer and nothing else up to its end", named: "free generation up to its natural stop" },
  unchanged: {
    unit: "points",
    about: "share of tokens that come first as before the edit, right or wrong",
    named: "locality_acc (EasyEdit, MEND: drawdown)",
  },
} as const satisfies Readonly<Record<string, Protocol>>;
export type ProtocolId = keyof typeof protocols;
export const protocolIds = Object.keys(protocols) as readonly ProtocolId[];

/** What a model answered to a question. */
export interface ProbeReading {
  readonly answer: AnswerScore;
  /** Tokens of the right answer. */
  readonly wanted: readonly number[];
  /** Where the question has one: what the model makes of it, and its tokens. */
  readonly rival?: AnswerScore;
  readonly unwanted?: readonly number[];
  /** What it goes on with by itself, as text up to its end; where it was asked to. */
  readonly generated?: Generation;
}

export interface Generation {
  readonly text: string;
  /** False: it was cut off. */
  readonly ended: boolean;
}

/** Scores of one answer, 0 to 1 (`difference` −1 to 1); null where the question does not support the protocol. */
export type ProbeScores = Readonly<Record<ProtocolId, number | null>>;

/** @param before what the model answered before the edit; without it nothing is known to be unchanged */
export function scoreProbe(probe: EditProbe, reading: ProbeReading, before?: ProbeReading): ProbeScores {
  const { answer, wanted, rival, generated } = reading;
  const first = wanted.filter((token, i) => answer.said[i] === token).length;
  const right = [probe.answer, ...(probe.aliases ?? [])];
  return {
    success: rival ? Number(meanLogProb(answer) > meanLogProb(rival)) : null,
    difference: rival ? Math.exp(meanLogProb(answer)) - Math.exp(meanLogProb(rival)) : null,
    "token-accuracy": first / wanted.length,
    exact: Number(first === wanted.length),
    generated: generated ? Number(right.some((text) => beginsWith(generated.text, text))) : null,
    ended: generated ? Number(generated.ended && right.some((text) => bare(generated.text) === bare(text))) : null,
    unchanged: before ? share(answer.said, before.answer.said) : null,
  };
}

/**
 * Whether the model named the answer that was right before the edit: where it did not, an edit has nothing to change or to keep there.
 * null where the question does not say what that was.
 */
export function knewAnswer(probe: EditProbe, before: ProbeReading): boolean | null {
  const [score, tokens] = probeKinds[probe.kind].expects === "old" ? [before.answer, before.wanted] : [before.rival, before.unwanted];
  return score && tokens ? tokens.every((token, i) => score.said[i] === token) : null;
}

/** Which protocol stands for a kind of question where there is room for one: what is generated for what an edit brings, else what stayed. */
export function mainProtocol(kind: EditProbe["kind"]): ProtocolId {
  return probeKinds[kind].expects === "new" ? "generated" : "unchanged";
}

/** Per token, so that long answers are not unlikely for their length (as in ROME's evaluation). */
function meanLogProb({ logProbs }: AnswerScore): number {
  return logProbs.reduce((a, b) => a + b, 0) / logProbs.length;
}

function share(now: readonly number[], then: readonly number[]): number {
  return now.filter((token, i) => token === then[i]).length / now.length;
}

/** Whether a text begins with the words of an answer: "Parisian" does not begin with "Paris". Case counts as little as the space before. */
export function beginsWith(text: string, answer: string): boolean {
  const [t, a] = [text.trimStart().toLowerCase(), answer.trim().toLowerCase()];
  return a !== "" && t.startsWith(a) && !/^[\p{L}\p{N}]/u.test(t.slice(a.length));
}

/** Without what stands around words. */
function bare(text: string): string {
  return text
    .trim()
    .toLowerCase()
    .replace(/^["'“”]+|[\s.,;:!?"'“”]+$/gu, "");
}
