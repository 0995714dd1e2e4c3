/**
 * Self-consistency (arXiv 2203.11171): several ways to an answer are drawn, and the answer that most of them come to is taken. With examples that
 * show their reasoning in front (`inContext`) this is chain of thought with a vote.
 */
import { LfmError, Rng } from "@lfm/core";
import type { GenerateOptions, Generator } from "@lfm/models";

export interface VoteOptions extends GenerateOptions {
  /** Ways that are drawn. */
  readonly votes: number;
  /** The answer that a way comes to; undefined for one that comes to none: it does not vote. */
  answerOf(tokens: readonly number[]): string | undefined;
}

export interface Vote {
  /** The answer of most ways, of equally many the one that came first; undefined where none came to any. */
  readonly answer: string | undefined;
  /** Share of all ways that came to it. */
  readonly agreement: number;
  /** All answers with how many ways came to each, the most first. */
  readonly answers: readonly { readonly answer: string; readonly votes: number }[];
  /** The first way that came to the answer; of none the first of all. */
  readonly tokens: readonly number[];
}

/**
 * Draws ways of a prompt together, each from a stream of its own, and counts their answers.
 * @throws {LfmError} CONFIG_INVALID for ways that are not drawn (they would all be one), and as the generator
 */
export async function selfConsistency(
  generator: Pick<Generator, "generateBatch">,
  prompt: readonly number[],
  { votes, answerOf, ...options }: VoteOptions,
): Promise<Vote> {
  if (!Number.isInteger(votes) || votes < 1)
    throw new LfmError("CONFIG_INVALID", `[@lfm/tuning] self-consistency: ${votes} is no number of ways`);
  if (votes > 1 && !((options.temperature ?? 0) > 0))
    throw new LfmError("CONFIG_INVALID", "[@lfm/tuning] self-consistency: without sampling all ways are one", {
      hint: "--temperature 0.7",
    });
  const ways = await generator.generateBatch(
    Array.from({ length: votes }, () => prompt),
    { rng: new Rng(0), ...options },
  );
  return counted(ways.map(({ tokens }) => ({ tokens, answer: answerOf(tokens) })));
}

/** The vote of ways that have come to their answers. */
function counted(ways: readonly { readonly tokens: readonly number[]; readonly answer: string | undefined }[]): Vote {
  const votes = new Map<string, number>();
  for (const { answer } of ways) if (answer !== undefined) votes.set(answer, (votes.get(answer) ?? 0) + 1);
  // The order of a map is that of first sight, and sorting keeps it among equals.
  const answers = [...votes].map(([answer, n]) => ({ answer, votes: n })).sort((a, b) => b.votes - a.votes);
  const [best] = answers;
  const first = ways.find((way) => best !== undefined && way.answer === best.answer) ?? ways[0]!;
  return { answer: best?.answer, agreement: (best?.votes ?? 0) / ways.length, answers, tokens: first.tokens };
}

/**
 * Reads an answer out of text: the first group of the pattern's last match, or all of it where it has no group, without space around it.
 * @throws {LfmError} CONFIG_INVALID for what is no pattern
 */
export function answerReader(pattern: string): (text: string) => string | undefined {
  let compiled: RegExp;
  try {
    compiled = new RegExp(pattern, "gu");
  } catch (cause) {
    throw new LfmError("CONFIG_INVALID", `[@lfm/tuning] "${pattern}" is no regular expression`, { cause, hint: "answer is (\\S+)" });
  }
  return (text) => {
    const last = [...text.matchAll(compiled)].at(-1);
    const found = (last?.[1] ?? last?.[0])?.trim();
    return found === undefined || found === "" ? undefined : found;
  };
}
