import type { Rng } from "@lfm/core";
import { type BatchGenerateOptions, continuationOf, type Generated, type TokenOdds } from "@lfm/models";
import { invalid } from "./api-error.js";
import type { GenerationFields } from "./request-fields.js";
import type { ServedLanguageModel } from "./served.js";
import { adjustOf, wishesOf } from "./wishes.js";

/** A token of an answer, with what was asked about it. */
export interface AnswerToken extends TokenOdds {
  readonly token: number;
}

/** Some of an answer: text that can be shown, and the tokens that it comes from. */
export interface Piece {
  /** Number of the answer to its prompt. */
  readonly choice: number;
  readonly text: string;
  readonly tokens: readonly AnswerToken[];
}

export interface Answer {
  readonly text: string;
  readonly tokens: readonly AnswerToken[];
  readonly finish: "stop" | "length";
  /** Tokens that were made, what ended it included. */
  readonly made: number;
}

export interface Question {
  readonly model: ServedLanguageModel;
  /** Of the prompt. */
  readonly ids: readonly number[];
  readonly body: GenerationFields;
  /** New tokens; the most that there may be where the request says none. */
  readonly maxTokens: number;
  /** Whether log p of tokens is wanted, and of how many others at each place. */
  readonly odds: { readonly top: number } | undefined;
  /** Randomness, for each answer a stream of its own. */
  readonly rng: Rng;
  readonly signal: AbortSignal;
  readonly onToken?: () => void;
  readonly onPiece?: (piece: Piece) => void;
}

/**
 * New tokens of an answer.
 * @param asked by the request; null where it does not say
 * @param most that the server gives
 * @throws {ApiError} 400 for a prompt that leaves no room for them, and for more than the server gives
 */
export function newTokens(model: ServedLanguageModel, prompt: number, asked: number | null, most: number, param: string): number {
  const room = model.generator.room(prompt);
  if (room < Math.max(1, asked ?? 1)) {
    const length =
      room === 0 ? `it has no room behind ${prompt} tokens of the prompt` : `only ${room} fit behind the ${prompt} tokens of the prompt`;
    throw invalid(`"${model.id}" cannot give ${asked ?? 1} tokens: ${length}`, param, "context_length_exceeded");
  }
  if (asked !== null && asked > most) throw invalid(`"${param}" is ${asked}; this server gives ${most} tokens at most`, param);
  return asked ?? Math.min(room, most);
}

/** The answers of a model to one prompt, which is read once. @throws {LfmError} ABORTED and as the generator's */
export async function answersTo(q: Question): Promise<Answer[]> {
  const { model, ids, odds, signal } = q;
  const { options, stream, text } = continuationOf(model.text, ids.length, wishesOf(q.body, q.maxTokens));
  const adjust = adjustOf(q.body);
  const choices = Array.from({ length: q.body.n ?? 1 }, (_, choice) => {
    const [tokens, shown]: [AnswerToken[], TextShown] = [[], { text: stream(), tokens: 0 }];
    const each: BatchGenerateOptions = {
      ...options,
      ...(adjust ? { adjust } : {}),
      ...(odds ? { logProbs: true, topLogProbs: odds.top } : {}),
      rng: q.rng.split(choice),
      signal,
      onToken: (token, _sequence, said) => {
        tokens.push({ token, ...said });
        q.onToken?.();
        const piece = q.onPiece ? shown.text.push(token) : "";
        if (piece !== "") q.onPiece!({ choice, text: piece, tokens: tokens.slice(shown.tokens) });
        if (piece !== "") shown.tokens = tokens.length;
      },
    };
    return { tokens, shown, each };
  });
  const found = await model.generator.generateEach(
    ids,
    choices.map((c) => c.each),
    model.adapter,
  );
  return found.map((generated, choice) => {
    const { tokens, shown } = choices[choice]!;
    const whole = text(generated.tokens);
    const own = tokens.slice(0, generated.tokens.length);
    const rest = { choice, text: q.onPiece ? shown.text.end(whole) : "", tokens: own.slice(shown.tokens) };
    if (rest.text !== "" || rest.tokens.length > 0) q.onPiece?.(rest);
    return { text: whole, tokens: own, finish: finishOf(generated), made: tokens.length };
  });
}

interface TextShown {
  readonly text: ReturnType<ReturnType<typeof continuationOf>["stream"]>;
  /** Tokens whose text was shown. */
  tokens: number;
}

function finishOf({ finish }: Generated): Answer["finish"] {
  return finish === "length" ? "length" : "stop";
}
