import type { HttpBindings } from "@hono/node-server";
import { type Context, Hono } from "hono";
import { bodyLimit } from "hono/body-limit";
import type { ContentfulStatusCode } from "hono/utils/http-status";
import { checkAccess } from "./access.js";
import { type ApiError, ApiError as ApiFailure, asApiError, goingDown, invalid } from "./api-error.js";
import { chat } from "./chat.js";
import { completions } from "./completions.js";
import { EmbeddingQueue } from "./embedding-queue.js";
import { embeddings } from "./embeddings.js";
import type { Served } from "./served.js";
import type { Exchange, Serving } from "./serving.js";

type Http = { readonly Bindings: HttpBindings };

export interface AppState {
  readonly apiKey: string | undefined;
  /** True when nothing new is taken. */
  readonly closing: () => boolean;
  /** Told of a request that has come and, once its answer has ended, of that. */
  readonly onRequest: (ended: Promise<void>) => void;
}

/** The routes of OpenAI's API, with /health and /metrics. */
export function apiOf(serving: Serving, { apiKey, closing, onRequest }: AppState): Hono<Http> {
  const { served, limits, metrics, now } = serving;
  const app = new Hono<Http>();
  const queue = new EmbeddingQueue();
  const created = now();
  const routes = new Set<string>();

  app.use(async (c, next) => {
    const began = performance.now();
    const { outgoing } = c.env;
    onRequest(
      new Promise((resolve) =>
        outgoing.once("close", () => {
          metrics.request(routes.has(c.req.path) ? c.req.path : "other", outgoing.statusCode, (performance.now() - began) / 1000);
          resolve();
        }),
      ),
    );
    if (c.req.path !== "/health") {
      checkAccess(c.req.header("host") ?? "", c.req.header("authorization"), apiKey);
      if (closing()) throw goingDown();
    }
    await next();
  });
  app.use(
    bodyLimit({
      maxSize: limits.bodyBytes,
      onError: () => {
        throw new ApiFailure(413, "invalid_request_error", `the request has more than ${limits.bodyBytes} bytes`, {
          code: "body_too_large",
        });
      },
    }),
  );
  const get = (path: string, answer: (c: Context<Http>) => Response | Promise<Response>): void => {
    routes.add(path);
    app.get(path, answer);
  };
  const post = (path: string, answer: (exchange: Exchange) => Promise<object>): void => {
    routes.add(path);
    app.post(path, async (c) => {
      const gone = new AbortController();
      c.env.outgoing.once("close", () => gone.abort());
      const answered = await answer({ body: await bodyOf(c), gone });
      return answered instanceof Response ? answered : c.json(answered);
    });
  };
  const model = ({ id, parent }: Served): object => ({ id, object: "model", created, owned_by: "lfm", ...(parent ? { parent } : {}) });

  get("/health", (c) => (closing() ? c.json({ status: "closing" }, 503) : c.json({ status: "ok" })));
  get("/metrics", async (c) => c.body(await metrics.text(), 200, { "content-type": metrics.contentType }));
  get("/v1/models", (c) => c.json({ object: "list", data: served.map(model) }));
  app.get("/v1/models/:id{.+}", (c) => {
    const id = c.req.param("id");
    const found = served.find((s) => s.id === id);
    if (found) return c.json(model(found));
    throw new ApiFailure(404, "invalid_request_error", `there is no model "${id}"`, { param: "model", code: "model_not_found" });
  });
  post("/v1/completions", (exchange) => completions(serving, exchange));
  post("/v1/chat/completions", (exchange) => chat(serving, exchange));
  post("/v1/embeddings", (exchange) => embeddings(serving, queue, exchange));

  app.notFound((c) =>
    said(c, new ApiFailure(404, "invalid_request_error", `there is no ${c.req.method} ${c.req.path}`, { code: "unknown_url" })),
  );
  app.onError((error, c) => {
    const answer = asApiError(error);
    if (answer.status >= 500) serving.failed(answer);
    return said(c, answer);
  });
  return app;
}

function said(c: Context<Http>, error: ApiError): Response {
  // A status that there is, of those that have a body.
  return c.json(error.body, error.status as ContentfulStatusCode, { ...error.headers });
}

/** Lists and objects within one another that a request may have: more than any has. What looks at them goes as deep as they do. */
const MOST_NESTED = 64;

/**
 * JSON that says it is: a page of another site may send text without asking first, but nothing that calls itself JSON.
 * @throws {ApiError} 415, 400
 */
async function bodyOf(c: Context<Http>): Promise<unknown> {
  if (!/^application\/json\b/i.test(c.req.header("content-type") ?? ""))
    throw new ApiFailure(415, "invalid_request_error", "the request is no JSON: content-type: application/json", {
      code: "unsupported_media_type",
    });
  const text = await c.req.text();
  if (nested(text) > MOST_NESTED) throw invalid(`the request has lists and objects nested deeper than ${MOST_NESTED}`);
  try {
    return JSON.parse(text) as unknown;
  } catch (error) {
    throw invalid(`the request is no JSON: ${error instanceof Error ? error.message : String(error)}`);
  }
}

/** How deep brackets of a JSON text stand within one another, those in strings aside. */
function nested(json: string): number {
  let [depth, most, quoted] = [0, 0, false];
  for (let i = 0; i < json.length; i++) {
    const c = json[i];
    if (quoted) {
      if (c === "\\") i++;
      else quoted = c !== '"';
    } else if (c === '"') quoted = true;
    else if (c === "[" || c === "{") most = Math.max(most, ++depth);
    else if (c === "]" || c === "}") depth--;
  }
  return most;
}
