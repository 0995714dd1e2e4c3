import { randomUUID } from "node:crypto";
import { promptIds } from "@lfm/models";
import { type AnswerToken, newTokens } from "./answer.js";
import { invalid } from "./api-error.js";
import { eventStream } from "./event-stream.js";
import { type CompletionRequest, completionRequest, readRequest } from "./request-fields.js";
import { answerAll } from "./round.js";
import { type ServedLanguageModel, servedAs } from "./served.js";
import type { Exchange, Serving } from "./serving.js";
import { type CompletionLogProbs, completionLogProbs } from "./token-odds.js";

/** New tokens where a completion does not say how many, as OpenAI's. */
const DEFAULT_TOKENS = 16;

/** POST /v1/completions: one prompt or several, as text or as ids, each continued `n` times. */
export async function completions(serving: Serving, exchange: Exchange): Promise<object> {
  const body = readRequest(completionRequest, exchange.body);
  const model = servedAs(serving.served, body.model, "language");
  if (body.echo && body.logprobs != null)
    throw invalid('"echo" gives the prompt without log probabilities: leave "logprobs" out', "logprobs");
  const asked = body.max_tokens ?? DEFAULT_TOKENS;
  const prompts = promptsOf(body, model).map((prompt) => ({
    ...prompt,
    maxTokens: newTokens(model, prompt.ids.length, asked, serving.limits.maxTokens, "max_tokens"),
  }));
  const n = body.n ?? 1;
  const head = { id: `cmpl-${randomUUID()}`, object: "text_completion", created: serving.now(), model: body.model };
  const odds = body.logprobs == null ? undefined : { top: body.logprobs };
  if (!body.stream) {
    const { answers, usage } = await answerAll(serving, exchange, { model, body, odds, prompts, onPiece: undefined });
    const choices = answers.flatMap((found, p) =>
      found.map(({ text, tokens, finish }, choice) => ({
        index: p * n + choice,
        text: body.echo ? prompts[p]!.text() + text : text,
        logprobs: logProbsOf(body, model, tokens, 0),
        finish_reason: finish,
      })),
    );
    return { ...head, choices, usage };
  }
  return eventStream(
    async (events) => {
      // Where usage comes at the end, the other events say that there is none yet.
      const last = body.stream_options?.include_usage ? { usage: null } : {};
      const begun = new Map<number, number>();
      const send = (index: number, text: string, tokens: readonly AnswerToken[], finish: string | null): void => {
        const logprobs = tokens.length === 0 ? null : logProbsOf(body, model, tokens, begun.get(index) ?? 0);
        begun.set(index, (begun.get(index) ?? 0) + text.length);
        events.send({ ...head, choices: [{ index, text, logprobs, finish_reason: finish }], ...last });
      };
      const open = (index: number, p: number): void => {
        if (body.echo && !begun.has(index)) send(index, prompts[p]!.text(), [], null);
      };
      const { usage } = await answerAll(serving, exchange, {
        model,
        body,
        odds,
        prompts,
        onPiece: (p, { choice, text, tokens }) => {
          open(p * n + choice, p);
          send(p * n + choice, text, tokens, null);
        },
        onEnd: (p, answers) => {
          for (const [choice, { finish }] of answers.entries()) {
            open(p * n + choice, p);
            send(p * n + choice, "", [], finish);
          }
        },
      });
      if (body.stream_options?.include_usage) events.send({ ...head, choices: [], usage });
    },
    () => exchange.gone.abort(),
    serving.failed,
  );
}

interface Prompt {
  readonly ids: readonly number[];
  text(): string;
}

/** @throws {ApiError} 400 for ids that the model has none of */
function promptsOf({ prompt }: CompletionRequest, { text: rules }: ServedLanguageModel): readonly Prompt[] {
  const ofText = (text: string): Prompt => ({ ids: promptIds(rules, text), text: () => text });
  const ofIds = (ids: readonly number[]): Prompt => {
    const outside = ids.find((id) => id >= (rules.rows ?? Number.POSITIVE_INFINITY));
    if (outside !== undefined) throw invalid(`"prompt" has the id ${outside}; the model has 0 to ${rules.rows! - 1}`, "prompt");
    return { ids, text: () => rules.tokenizer.decode(ids, { skipSpecialTokens: false }) };
  };
  if (typeof prompt === "string") return [ofText(prompt)];
  if (isIds(prompt)) return [ofIds(prompt)];
  return prompt.map((one) => (typeof one === "string" ? ofText(one) : ofIds(one)));
}

function isIds(prompt: Exclude<CompletionRequest["prompt"], string>): prompt is number[] {
  return typeof prompt[0] === "number";
}

function logProbsOf(
  { logprobs }: CompletionRequest,
  { text }: ServedLanguageModel,
  tokens: readonly AnswerToken[],
  offset: number,
): CompletionLogProbs | null {
  return logprobs == null ? null : completionLogProbs(text.tokenizer, tokens, offset);
}
