import { LfmError, Rng } from "@lfm/core";
import { type ContinuationWishes, continuationOf, type Generator, type TextRules } from "@lfm/models";
import { alwaysRetrieve, answerAdaptively, type Draft, type Drafter, type RetrievalPolicy, whenUnsure } from "@lfm/retrieval";
import type { FoundPassage, OpenedSearch } from "../inputs/open-search.js";
import type { AskPolicy } from "./ask-flags.js";
import { type CitedPassage, CitedPrompts } from "./cited-prompts.js";
import type { PromptWriter } from "./prompt-form.js";

export interface AskWishes extends ContinuationWishes {
  readonly policy: AskPolicy;
  /** flare: a token below this probability has the sentence looked up. */
  readonly theta?: number;
  /** flare: tokens below this one are not looked for. */
  readonly beta?: number;
  /** Passages looked up at a time. */
  readonly top: number;
  /** Tokens that passages may take in a prompt. */
  readonly budget: number;
  readonly seed?: number;
}

export interface AskedAnswer {
  readonly answer: string;
  /** Passages that stood in prompts, in the order of their numbers. */
  readonly citations: readonly CitedPassage[];
  /** Times that something was looked up, of so many sentences (of an answer in one piece: one). */
  readonly retrievals: number;
  readonly steps: number;
  /** Passages that were found and that there was no room for. */
  readonly leftOut: number;
  /** Tokens of all prompts, and of all that was written to them. */
  readonly promptTokens: number;
  readonly tokens: number;
}

/** What answers. */
export interface Asker {
  readonly text: TextRules;
  readonly writer: PromptWriter;
  readonly generator: Generator;
  /** Undefined where nothing is ever looked up. */
  readonly search: OpenedSearch | undefined;
}

/** New tokens where nothing says how many. */
const NEW_TOKENS = 128;

/**
 * Answers one question from what is found for it.
 * @throws {LfmError} CONFIG_INVALID for a question that leaves no room for an answer; CAPABILITY_MISSING for an encoder-decoder that is to go on from
 *   its own sentences; ABORTED
 */
export async function askQuestion(asker: Asker, question: string, wishes: AskWishes, signal?: AbortSignal): Promise<AskedAnswer> {
  const { text, writer, search } = asker;
  const most = text.maxLength ?? Number.POSITIVE_INFINITY;
  const alone = writer.ids(writer.write(question, [], "")).length;
  const newTokens = wishes.maxNewTokens ?? Math.min(NEW_TOKENS, Math.floor((most - alone) / 2));
  if (newTokens < 1 || alone + newTokens > most)
    throw new LfmError("CONFIG_INVALID", `lfm: the model reads ${most} tokens: the question takes ${alone}, its answer ${newTokens}`, {
      hint: "ask in fewer words, or for a shorter answer: --max-new-tokens 16",
    });
  const prompts = new CitedPrompts(writer, question, { prompt: most - newTokens, passages: wishes.budget });
  const counts = { promptTokens: 0, tokens: 0 };
  const draft = drafter(asker, wishes, counts, signal);
  const lookUp = async (query: string): Promise<readonly FoundPassage[]> => (await search?.lookUp(query, wishes.top)) ?? [];
  const finish = (answer: string, steps: number, retrievals: number): AskedAnswer => ({
    answer,
    citations: prompts.citations(answer),
    retrievals,
    steps,
    leftOut: prompts.leftOut,
    ...counts,
  });
  const policy = sentencePolicy(wishes);
  if (policy === undefined) {
    const retrievals = wishes.policy === "always" ? 1 : 0;
    const { pieces } = await draft(prompts.write(retrievals > 0 ? await lookUp(question) : [], ""), newTokens);
    return finish(textOf(pieces).trim(), 1, retrievals);
  }
  if (text.answers)
    throw new LfmError("CAPABILITY_MISSING", `lfm: an encoder-decoder does not go on from its own sentences, as ${wishes.policy} wants`, {
      hint: "--policy always",
    });
  let found: readonly FoundPassage[] = [];
  const told = await answerAdaptively({
    question,
    policy,
    draft,
    retrieve: async (query) => {
      found = await lookUp(query);
      return found.map((f) => f.passage);
    },
    // What is handed over are the passages that were found last, whose scores are here.
    prompt: (_question, passages, written) => prompts.write(passages.length === 0 ? [] : found, written),
    lookAhead: newTokens,
    ...(signal ? { signal } : {}),
  });
  return finish(told.text, told.steps, told.retrievals);
}

/** Drafts by the model, as its folder and the wishes say. @param counts what has been read and written */
function drafter(
  { text, writer, generator }: Asker,
  wishes: AskWishes,
  counts: { promptTokens: number; tokens: number },
  signal: AbortSignal | undefined,
): Drafter {
  let drafts = 0;
  return async (prompt, limit) => {
    const ids = writer.ids(prompt);
    const room = Math.min(limit, (text.maxLength ?? Number.POSITIVE_INFINITY) - ids.length);
    if (room < 1) return { pieces: [], ended: true };
    const stop = [...(wishes.stop ?? []), ...writer.stop];
    const { options, text: textOfTokens, stream } = continuationOf(text, ids.length, { ...wishes, maxNewTokens: room, stop });
    const { tokens, logProbs, finish } = await generator.generate(ids, {
      ...options,
      logProbs: true,
      rng: new Rng(wishes.seed ?? 0).split(drafts++),
      ...(signal ? { signal } : {}),
    });
    counts.promptTokens += ids.length;
    counts.tokens += tokens.length;
    const shown = stream();
    const pieces = tokens.map((token, i) => ({ text: shown.push(token), probability: Math.exp(logProbs![i]!) }));
    const rest = shown.end(textOfTokens(tokens));
    const [last] = pieces.slice(-1);
    return { pieces: last ? [...pieces.slice(0, -1), { ...last, text: last.text + rest }] : [], ended: finish !== "length" };
  };
}

/** Undefined where the answer is written in one piece. */
function sentencePolicy({ policy, theta, beta }: AskWishes): RetrievalPolicy | undefined {
  if (policy === "each-sentence") return alwaysRetrieve;
  if (policy === "flare") return whenUnsure({ ...(theta === undefined ? {} : { theta }), ...(beta === undefined ? {} : { beta }) });
  return undefined;
}

function textOf(pieces: Draft["pieces"]): string {
  return pieces.map((piece) => piece.text).join("");
}
