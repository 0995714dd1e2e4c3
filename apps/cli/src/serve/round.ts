import { Rng } from "@lfm/core";
import { admit } from "./admission.js";
import { type Answer, answersTo, type Piece, type Question } from "./answer.js";
import { type Exchange, inTime, type Serving } from "./serving.js";
import { type Usage, usageOf } from "./usage.js";

/** The prompts of one request, and what becomes of their answers as they come. */
export interface Round extends Pick<Question, "model" | "body" | "odds"> {
  readonly prompts: readonly { readonly ids: readonly number[]; readonly maxTokens: number }[];
  /** Undefined where the whole answers are wanted. */
  readonly onPiece: ((prompt: number, piece: Piece) => void) | undefined;
  /** The answers of one prompt have come to their end. */
  readonly onEnd?: (prompt: number, answers: readonly Answer[]) => void;
}

/**
 * Has all prompts of a request answered, all in the batch of the model.
 * @throws {ApiError} 429 where there is no room, 504; {LfmError} as the generator's
 */
export async function answerAll(
  serving: Serving,
  exchange: Exchange,
  { model, body, odds, prompts, onPiece, onEnd }: Round,
): Promise<{ readonly answers: readonly (readonly Answer[])[]; readonly usage: Usage }> {
  admit(model.generator, prompts.length * (body.n ?? 1), serving.limits);
  const began = performance.now();
  const rng = body.seed == null ? serving.nextRng() : new Rng(body.seed);
  let first = true;
  const onToken = (): void => {
    if (first) serving.metrics.firstToken(model.id, (performance.now() - began) / 1000);
    first = false;
  };
  const answers = await inTime(serving, exchange, (signal) =>
    Promise.all(
      prompts.map(async ({ ids, maxTokens }, p) => {
        const own = onPiece ? { onPiece: (piece: Piece) => onPiece(p, piece) } : {};
        const found = await answersTo({ model, ids, body, maxTokens, odds, rng: rng.split(p), signal, onToken, ...own });
        onEnd?.(p, found);
        return found;
      }),
    ),
  );
  const read = prompts.reduce((sum, { ids }) => sum + ids.length, 0);
  const usage = usageOf(read, answers.flat());
  serving.metrics.tokens(model.id, usage.prompt_tokens, usage.completion_tokens);
  return { answers, usage };
}
