import { randomUUID } from "node:crypto";
import type { ChatMessage } from "@lfm/data";
import { chatPromptIds } from "@lfm/models";
import { type AnswerToken, newTokens } from "./answer.js";
import { invalid } from "./api-error.js";
import { eventStream } from "./event-stream.js";
import { withPassages } from "./passages.js";
import { type ChatRequest, chatRequest, readRequest } from "./request-fields.js";
import { answerAll } from "./round.js";
import { type ServedLanguageModel, servedAs } from "./served.js";
import type { Exchange, Serving } from "./serving.js";
import { type ChatLogProbs, chatLogProbs } from "./token-odds.js";

/**
 * POST /v1/chat/completions: a conversation, written by the model's chat template, and `n` answers to it; from passages where the server has an index,
 * which are named in `citations` (of a stream in the event that ends each choice).
 */
export async function chat(serving: Serving, exchange: Exchange): Promise<object> {
  const body = readRequest(chatRequest, exchange.body);
  const model = servedAs(serving.served, body.model, "language");
  if (body.top_logprobs != null && !body.logprobs) throw invalid('"top_logprobs" wants "logprobs": true', "top_logprobs");
  const param = body.max_completion_tokens == null ? "max_tokens" : "max_completion_tokens";
  const asked = body.max_completion_tokens ?? body.max_tokens ?? null;
  const roomFor = (prompt: number): number => newTokens(model, prompt, asked, serving.limits.maxTokens, param);
  const said = body.messages.map(messageOf);
  const alone = chatPromptIds(model.text, said);
  const most = roomFor(alone.length);
  const { ids, citations } = serving.passages
    ? await withPassages(serving, exchange, serving.passages, { model, messages: said, alone, newTokens: asked ?? Math.ceil(most / 2) })
    : { ids: alone, citations: undefined };
  const prompts = [{ ids, maxTokens: roomFor(ids.length) }];
  const head = { id: `chatcmpl-${randomUUID()}`, created: serving.now(), model: body.model };
  const cited = citations ? { citations } : {};
  const odds = body.logprobs ? { top: body.top_logprobs ?? 0 } : undefined;
  if (!body.stream) {
    const { answers, usage } = await answerAll(serving, exchange, { model, body, odds, prompts, onPiece: undefined });
    const choices = answers[0]!.map(({ text, tokens, finish }, index) => ({
      index,
      message: { role: "assistant", content: text, refusal: null },
      logprobs: logProbsOf(body, model, tokens),
      finish_reason: finish,
    }));
    return { ...head, object: "chat.completion", choices, ...cited, usage };
  }
  return eventStream(
    async (events) => {
      // Where usage comes at the end, the other events say that there is none yet.
      const last = body.stream_options?.include_usage ? { usage: null } : {};
      const chunk = { ...head, object: "chat.completion.chunk" };
      const begun = new Set<number>();
      const send = (index: number, delta: object, tokens: readonly AnswerToken[], finish: string | null, beside: object = {}): void => {
        const logprobs = tokens.length === 0 ? null : logProbsOf(body, model, tokens);
        events.send({ ...chunk, choices: [{ index, delta, logprobs, finish_reason: finish }], ...beside, ...last });
      };
      const open = (index: number): void => {
        if (!begun.has(index)) send(index, { role: "assistant", content: "" }, [], null);
        begun.add(index);
      };
      const { usage } = await answerAll(serving, exchange, {
        model,
        body,
        odds,
        prompts,
        onPiece: (_prompt, { choice, text, tokens }) => {
          open(choice);
          send(choice, { content: text }, tokens, null);
        },
        onEnd: (_prompt, answers) => {
          for (const [index, { finish }] of answers.entries()) {
            open(index);
            send(index, {}, [], finish, cited);
          }
        },
      });
      if (body.stream_options?.include_usage) events.send({ ...chunk, choices: [], usage });
    },
    () => exchange.gone.abort(),
    serving.failed,
  );
}

/** What templates know as the system's word, OpenAI's newer models call the developer's. */
function messageOf({ role, content }: ChatRequest["messages"][number]): ChatMessage {
  const text = typeof content === "string" ? content : content.map((part) => part.text).join("");
  return { role: role === "developer" ? "system" : role, content: text };
}

function logProbsOf({ logprobs }: ChatRequest, { text }: ServedLanguageModel, tokens: readonly AnswerToken[]): ChatLogProbs | null {
  return logprobs ? chatLogProbs(text.tokenizer, tokens) : null;
}
