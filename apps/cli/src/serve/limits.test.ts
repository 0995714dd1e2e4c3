import { request } from "node:http";
import OpenAI from "openai";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { encoder, languageModel, open, type Started, start } from "../../test/serve-fixture.js";
import type { Served } from "./served.js";

let served: readonly Served[];
beforeAll(async () => {
  served = await open([`words=${languageModel}`, `sentences=${encoder}`]);
});
const running: Started[] = [];
afterEach(async () => {
  await Promise.all(running.splice(0).map((s) => s.server.close()));
});
const serve = async (options: Parameters<typeof start>[1] = {}): Promise<Started> => {
  const started = await start(served, options);
  running.push(started);
  return started;
};
const load = () => (served[0]!.kind === "language" ? served[0]!.generator.load : expect.fail());
/** Goes on to the end of what the model reads. */
const endless = { model: "words", prompt: "the cat", max_tokens: 60, logit_bias: { "2": -100 } } as const;
const until = async (there: () => boolean): Promise<void> => {
  while (!there()) await new Promise((resolve) => setImmediate(resolve));
};
afterAll(() => until(() => load().running === 0));

describe("what is wrong", () => {
  it("is refused as OpenAI's client knows it, naming what", async () => {
    const { client } = await serve();
    const completion = (body: object) => client.completions.create({ model: "words", prompt: "the", ...body });
    const chat = (body: object) =>
      client.chat.completions.create({ model: "words", messages: [{ role: "user", content: "the" }], ...body });
    const long = Array.from({ length: 64 }, () => "red").join(" ");
    for (const [failed, status, param, said] of [
      [() => completion({ model: "nobody" }), 404, "model", /no model "nobody"; there are: words, sentences/],
      [() => completion({ model: "sentences" }), 400, "model", /embeds text/],
      [() => completion({ temperature: -1 }), 400, "temperature", /"temperature" is wrong/],
      [() => completion({ prompt: [] }), 400, "prompt", /prompt/],
      [() => completion({ prompt: [4, 35] }), 400, "prompt", /id 35; the model has 0 to 34/],
      [() => completion({ suffix: "x" }), 400, "suffix", /"suffix" is not known here/],
      [() => completion({ best_of: 3 }), 400, "best_of", /not known here/],
      [() => completion({ max_token: 3 }), 400, "max_token", /unknown field "max_token"/],
      [() => completion({ echo: true, logprobs: 1 }), 400, "logprobs", /echo/],
      [() => completion({ prompt: long, max_tokens: 5 }), 400, "max_tokens", /only 1 fit behind the 64 tokens/],
      [() => completion({ prompt: `${long} red red` }), 400, "max_tokens", /no room/],
      [() => completion({ max_tokens: 41 }), 400, "max_tokens", /40 tokens at most/],
      [() => completion({ n: 21 }), 400, "n", /takes 20/],
      [() => chat({ tools: [{ type: "function", function: { name: "f" } }] }), 400, "tools", /not known here/],
      [() => chat({ response_format: { type: "json_object" } }), 400, "response_format", /not known here/],
      [() => chat({ messages: [{ role: "tool", content: "x" }] }), 400, "messages.0.role", /messages.0.role/],
      [() => chat({ top_logprobs: 2 }), 400, "top_logprobs", /wants "logprobs"/],
      [() => client.embeddings.create({ model: "sentences", input: [4, 5] }), 400, "input", /list of 1 to 2048 texts/],
      [() => client.embeddings.create({ model: "sentences", input: ["a", ""] }), 400, "input", /empty/],
      [() => client.embeddings.create({ model: "sentences", input: "a", dimensions: 7 }), 400, "dimensions", /vectors of 32/],
      [() => client.embeddings.create({ model: "words", input: "a" }), 400, "model", /continues text/],
    ] as const) {
      const error: unknown = await failed().then(
        () => "is answered",
        (e: unknown) => e,
      );
      expect(error, String(said)).toBeInstanceOf(OpenAI.APIError);
      expect(error).toMatchObject({ status, param, type: "invalid_request_error", message: expect.stringMatching(said) });
    }
    // An empty list of tools asks for nothing.
    expect((await chat({ tools: [], max_tokens: 1, response_format: { type: "text" } })).choices.length).toBe(1);
  });

  it("of HTTP has an answer of the same shape", async () => {
    const { origin } = await serve();
    const post = (body: string, type = "application/json") =>
      fetch(`${origin}/v1/completions`, { method: "POST", body, headers: { "content-type": type } });
    for (const [answer, status, code] of [
      [post("{"), 400, null],
      [post(`{"model":"words","prompt":"the","suffix":${"[".repeat(4000)}${"]".repeat(4000)}}`), 400, null],
      [post("[".repeat(9000)), 400, null],
      [post(JSON.stringify(endless), "text/plain"), 415, "unsupported_media_type"],
      [post(JSON.stringify({ ...endless, prompt: "the ".repeat(5000) })), 413, "body_too_large"],
      [fetch(`${origin}/v1/complete`), 404, "unknown_url"],
      [fetch(`${origin}/v1/completions`), 404, "unknown_url"],
    ] as const) {
      const { status: said, headers, ...rest } = await answer;
      expect(said).toBe(status);
      expect(headers.get("content-type")).toContain("application/json");
      expect(rest).toBeDefined();
      expect(((await (await answer).json()) as { error: { code: unknown } }).error.code).toBe(code);
    }
  });
});

describe("who may ask", () => {
  it("has the key, where there is one; health is open", async () => {
    const { client, origin, server } = await serve({ apiKey: "sesame" });
    expect((await client.models.list()).data.length).toBe(2);
    for (const [apiKey, said] of [
      ["sesam", /is wrong/],
      ["sesame2", /is wrong/],
    ] as const)
      await expect(new OpenAI({ baseURL: server.url, apiKey, maxRetries: 0 }).models.list()).rejects.toMatchObject({
        status: 401,
        code: "invalid_api_key",
        message: expect.stringMatching(said),
      });
    expect((await fetch(`${origin}/metrics`)).status).toBe(401);
    expect((await fetch(`${origin}/health`)).status).toBe(200);
  });

  it("is on this machine, where there is none, and says its own name", async () => {
    await expect(start(served, { host: "0.0.0.0" })).rejects.toMatchObject({
      code: "CONFIG_INVALID",
      message: expect.stringContaining("0.0.0.0"),
    });
    const { origin } = await serve();
    const { port } = new URL(origin);
    const ask = (host: string): Promise<number> =>
      new Promise((resolve, reject) => {
        request({ port, path: "/v1/models", headers: { host } }, (answer) => resolve(answer.resume().statusCode!))
          .once("error", reject)
          .end();
      });
    expect([await ask(`localhost:${port}`), await ask(`127.0.0.1:${port}`), await ask("[::1]:1"), await ask("evil.example")]).toEqual([
      200, 200, 200, 403,
    ]);
  });
});

describe("how much", () => {
  it("is asked at once: more than fits gets 429, and comes in when there is room again", async () => {
    const { client } = await serve({ limits: { slots: 4, queue: 2, maxTokens: 60 } });
    const answers = await Promise.allSettled(Array.from({ length: 9 }, () => client.completions.create(endless)));
    const failed = answers.flatMap((a) => (a.status === "rejected" ? [a.reason as unknown] : []));
    expect(failed.length).toBe(3);
    for (const error of failed) expect(error).toMatchObject({ status: 429, code: "rate_limit_exceeded", type: "rate_limit_error" });
    expect((failed[0] as InstanceType<typeof OpenAI.APIError>).headers!.get("retry-after")).toBe("1");
    expect((await client.completions.create(endless)).choices[0]!.finish_reason).toBe("length");
  });

  it("time passes: what takes too long ends with 504, and is not asked again", async () => {
    const { client } = await serve({ limits: { timeoutMs: 1, maxTokens: 60 } });
    const error: unknown = await client.completions.create(endless).catch((e: unknown) => e);
    expect(error).toMatchObject({ status: 504, code: "timeout", message: expect.stringContaining("0.001 s") });
    expect((error as InstanceType<typeof OpenAI.APIError>).headers!.get("x-should-retry")).toBe("false");
    await until(() => load().running + load().waiting === 0);
  });
});

describe("the end", () => {
  it("of a client ends what it asked for", async () => {
    const { client } = await serve({ limits: { maxTokens: 60 } });
    const made = load().rows;
    for (const stream of [true, false]) {
      const [stop, more] = [new AbortController(), { ...endless, n: 4 }];
      const answer = client.completions.create({ ...more, stream }, { signal: stop.signal }).catch((e: unknown) => e);
      await until(() => load().running === 4);
      stop.abort();
      await answer;
      await until(() => load().running === 0);
    }
    expect(load().rows - made).toBeLessThan(2 * 4 * 58);
  });

  it("of the server lets what is under way end, and takes nothing new", async () => {
    const { client, server, origin } = await serve({ limits: { maxTokens: 60 } });
    const answer = client.completions.create(endless);
    await until(() => load().running === 1);
    const closed = server.close();
    await expect(client.completions.create(endless)).rejects.toMatchObject({ status: 503, code: "unavailable" });
    expect((await fetch(`${origin}/health`)).status).toBe(503);
    expect((await answer).choices[0]!.finish_reason).toBe("length");
    await closed;
    await expect(fetch(`${origin}/health`)).rejects.toThrow();
  });

  it("does not wait longer than it may: what is under way is told so", async () => {
    const { client, server } = await serve({ drainMs: 0, limits: { maxTokens: 60 } });
    const plain = client.completions.create(endless).catch((e: unknown) => e);
    const events: string[] = [];
    const streamed = (async () => {
      for await (const { choices } of await client.completions.create({ ...endless, stream: true })) events.push(choices[0]!.text);
    })().catch((e: unknown) => e);
    await until(() => events.length > 1 && load().running === 2);
    await server.close();
    expect(await plain).toMatchObject({ status: 503 });
    expect(await streamed).toMatchObject({ code: "unavailable" });
  });
});

it("metrics say what was asked and made, in Prometheus' form", async () => {
  const { client, origin } = await serve();
  await client.completions.create({ model: "words", prompt: "the cat sat", max_tokens: 5, n: 2, logit_bias: { "2": -100 } });
  await client.models.retrieve("nobody").catch(() => {});
  const answer = await fetch(`${origin}/metrics`);
  expect(answer.headers.get("content-type")).toContain("text/plain");
  const lines = (await answer.text()).split("\n");
  expect(lines).toContain('lfm_requests_total{route="/v1/completions",status="200"} 1');
  expect(lines).toContain('lfm_requests_total{route="other",status="404"} 1');
  expect(lines).toContain('lfm_prompt_tokens_total{model="words"} 3');
  expect(lines).toContain('lfm_generated_tokens_total{model="words"} 10');
  expect(lines).toContain('lfm_first_token_seconds_count{model="words"} 1');
  expect(lines).toContain('lfm_running{model="words"} 0');
});
