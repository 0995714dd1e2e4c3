import { z } from "zod";
import { invalid } from "./api-error.js";

/** A field of OpenAI's API that changes the answer and that nothing here knows: these values of it change nothing. */
function only(...neutral: readonly unknown[]): z.ZodType<unknown> {
  return z
    .unknown()
    .refine((value) => value == null || neutral.some((n) => JSON.stringify(n) === JSON.stringify(value)), { error: "is not known here" })
    .optional();
}

/** Fields that do not change an answer. */
const neutral = z.unknown().optional();

/** Fields of completions and chats. Names and bounds are OpenAI's; top_k, min_p and repetition_penalty are those of other servers. */
const generation = {
  model: z.string(),
  n: z.int().min(1).max(128).nullish(),
  temperature: z.number().min(0).max(2).nullish(),
  top_p: z.number().positive().max(1).nullish(),
  top_k: z.int().positive().nullish(),
  min_p: z.number().min(0).max(1).nullish(),
  repetition_penalty: z.number().positive().nullish(),
  frequency_penalty: z.number().min(-2).max(2).nullish(),
  presence_penalty: z.number().min(-2).max(2).nullish(),
  logit_bias: z.record(z.string().regex(/^\d+$/), z.number().min(-100).max(100)).nullish(),
  seed: z.int().nullish(),
  stop: z.union([z.string(), z.array(z.string()).max(16)]).nullish(),
  stream: z.boolean().nullish(),
  stream_options: z.strictObject({ include_usage: z.boolean().nullish(), include_obfuscation: only(false) }).nullish(),
  user: neutral,
  metadata: neutral,
  store: neutral,
  service_tier: neutral,
  safety_identifier: neutral,
  prompt_cache_key: neutral,
} as const;

const ids = z.array(z.int().nonnegative()).min(1);

export const completionRequest = z.strictObject({
  ...generation,
  prompt: z.union([z.string(), ids, z.array(z.string()).min(1).max(128), z.array(ids).min(1).max(128)]),
  max_tokens: z.int().nonnegative().nullish(),
  echo: z.boolean().nullish(),
  logprobs: z.int().min(0).max(20).nullish(),
  best_of: only(1),
  suffix: only(""),
});
export type CompletionRequest = z.output<typeof completionRequest>;

const part = z.strictObject({ type: z.literal("text"), text: z.string() });
const message = z.strictObject({
  role: z.enum(["system", "developer", "user", "assistant"]),
  content: z.union([z.string(), z.array(part).min(1)]),
  name: neutral,
  refusal: only(null),
  annotations: only([]),
});

export const chatRequest = z.strictObject({
  ...generation,
  messages: z.array(message).min(1),
  max_tokens: z.int().positive().nullish(),
  max_completion_tokens: z.int().positive().nullish(),
  logprobs: z.boolean().nullish(),
  top_logprobs: z.int().min(0).max(20).nullish(),
  parallel_tool_calls: neutral,
  tools: only([]),
  tool_choice: only("none", "auto"),
  functions: only([]),
  function_call: only("none", "auto"),
  response_format: only({ type: "text" }),
  modalities: only(["text"]),
});
export type ChatRequest = z.output<typeof chatRequest>;

export const embeddingRequest = z.strictObject({
  model: z.string(),
  input: z.union([z.string(), z.array(z.string()).min(1).max(2048)], {
    error: "must be a text or a list of 1 to 2048 texts; ids are not known here",
  }),
  encoding_format: z.enum(["float", "base64"]).nullish(),
  dimensions: z.int().positive().nullish(),
  /** What the texts are, where the model wants a prompt before each: a word of other servers. */
  input_type: z.enum(["query", "document"]).nullish(),
  user: neutral,
});

export type GenerationFields = Pick<CompletionRequest, keyof typeof generation>;

/** @throws {ApiError} 400 naming the first field that is wrong */
export function readRequest<S extends z.ZodType>(schema: S, body: unknown): z.output<S> {
  const parsed = schema.safeParse(body ?? {});
  if (parsed.success) return parsed.data;
  const [issue] = parsed.error.issues;
  const path = issue!.path.join(".");
  if (issue!.code === "unrecognized_keys") throw invalid(`unknown field "${[...issue!.path, issue!.keys[0]].join(".")}"`, issue!.keys[0]);
  throw invalid(path === "" ? issue!.message : `"${path}" ${said(issue!.message)}`, path === "" ? undefined : path);
}

function said(message: string): string {
  return message.startsWith("is ") || message.startsWith("must ") ? message : `is wrong: ${message}`;
}
