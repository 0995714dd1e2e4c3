import { invalid } from "./api-error.js";
import type { EmbeddingQueue } from "./embedding-queue.js";
import { embeddingRequest, readRequest } from "./request-fields.js";
import { servedAs } from "./served.js";
import { type Exchange, inTime, type Serving } from "./serving.js";

/** POST /v1/embeddings: a vector for each text. */
export async function embeddings(serving: Serving, queue: EmbeddingQueue, exchange: Exchange): Promise<object> {
  const body = readRequest(embeddingRequest, exchange.body);
  const { id, encoder, tokenizer } = servedAs(serving.served, body.model, "encoder");
  if (body.dimensions != null && body.dimensions !== encoder.dimension)
    throw invalid(`"dimensions" is ${body.dimensions}; "${id}" gives vectors of ${encoder.dimension}`, "dimensions");
  const texts = typeof body.input === "string" ? [body.input] : body.input;
  if (texts.includes("")) throw invalid('"input" has an empty text', "input");
  const { data } = await inTime(serving, exchange, (signal) =>
    queue.run(texts.length, serving.limits.queue, () => {
      signal.throwIfAborted();
      return encoder.encode(texts, { signal, ...(body.input_type == null ? {} : { role: body.input_type }) });
    }),
  );
  const tokens = texts.reduce((n, text) => n + tokenizer.encode(text).ids.length, 0);
  serving.metrics.tokens(id, tokens, 0);
  return {
    object: "list",
    model: body.model,
    data: texts.map((_, index) => {
      const vector = (data as Float32Array).slice(index * encoder.dimension, (index + 1) * encoder.dimension);
      const embedding = body.encoding_format === "base64" ? Buffer.from(vector.buffer).toString("base64") : [...vector];
      return { object: "embedding", index, embedding };
    }),
    usage: { prompt_tokens: tokens, total_tokens: tokens },
  };
}
