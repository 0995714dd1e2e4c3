import type OpenAI from "openai";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { languageModel, open, type Started, start } from "../../test/serve-fixture.js";
import { askedOf } from "../asking/prompt-form.js";
import type { FoundPassage } from "../inputs/open-search.js";
import { passageSource } from "./passage-source.js";
import type { Served } from "./served.js";

const found: readonly FoundPassage[] = [
  { passage: { id: "a", title: "home", text: "of Ada is Paris" }, score: 2 },
  { passage: { id: "b", text: "the cat sat on the mat" }, score: 1 },
];
const asked: string[] = [];
const search = {
  lookUp: async (text: string, k: number) => {
    asked.push(`${k}: ${text}`);
    if (text.includes("lost")) throw new Error("the disk is gone");
    return text.includes("nothing") ? [] : found;
  },
};

let served: readonly Served[];
const running: Started[] = [];
const serve = async (budget?: number): Promise<Started["client"]> => {
  const more = budget === undefined ? {} : { passages: passageSource(search, { top: 2, budget }) };
  const started = await start(served, more);
  running.push(started);
  return started.client;
};
beforeAll(async () => {
  served = await open([`words=${languageModel}`]);
});
afterAll(() => Promise.all(running.map((s) => s.server.close())));

const question = "the home of Ada";
const of = (content: string, max_tokens?: number): OpenAI.ChatCompletionCreateParamsNonStreaming => ({
  model: "words",
  messages: [{ role: "user", content }],
  logit_bias: { "2": -100 },
  ...(max_tokens === undefined ? {} : { max_tokens }),
});
const numbered = found.map(({ passage }, i) => ({ number: i + 1, passage }));

describe("a server with an index", () => {
  it("answers as if the passages had been in the question, and names them; streamed the same", async () => {
    const [alone, client] = [await serve(), await serve(60)];
    const [given, told] = [
      await alone.chat.completions.create(of(askedOf(question, numbered), 4)),
      await client.chat.completions.create(of(question, 4)),
    ];
    const citations = [
      { number: 1, id: "a", title: "home", text: "of Ada is Paris", score: 2 },
      { number: 2, id: "b", title: null, text: "the cat sat on the mat", score: 1 },
    ];
    expect(told).toMatchObject({ choices: given.choices, usage: given.usage, citations });
    expect(given).not.toHaveProperty("citations");
    expect(asked.at(-1)).toBe(`2: ${question}`);
    let text = "";
    const ends: unknown[] = [];
    for await (const chunk of await client.chat.completions.create({ ...of(question, 4), stream: true })) {
      text += chunk.choices[0]!.delta.content ?? "";
      if (chunk.choices[0]!.finish_reason !== null) ends.push(chunk);
    }
    expect(text).toBe(given.choices[0]!.message.content);
    expect(ends).toMatchObject([{ citations }]);
  });

  it("takes what fits beside the question and the answer, and answers alone where nothing does or is found", async () => {
    const [alone, client] = [await serve(), await serve(60)];
    const bare = await alone.chat.completions.create(of(question, 40));
    expect(await client.chat.completions.create(of(question, 40))).toMatchObject({ choices: bare.choices, citations: [] });
    const none = await client.chat.completions.create(of("nothing red", 4));
    expect(none).toMatchObject({ citations: [], usage: { prompt_tokens: expect.any(Number) as number } });
    const tight = await client.chat.completions.create(of(question));
    expect(tight.usage!.prompt_tokens + tight.usage!.completion_tokens).toBeLessThanOrEqual(65);
    const little = await (await serve(30)).chat.completions.create(of(question, 4));
    expect(little).toMatchObject({ citations: [{ number: 1 }] });
  });

  it("refuses before it searches, and says nothing of the inside of what failed", async () => {
    const client = await serve(60);
    const before = asked.length;
    const long = Array.from({ length: 64 }, () => "red").join(" ");
    await expect(client.chat.completions.create(of(long, 4))).rejects.toMatchObject({ status: 400, code: "context_length_exceeded" });
    expect(asked.length).toBe(before);
    await expect(client.chat.completions.create(of("lost", 4))).rejects.toMatchObject({
      status: 500,
      message: expect.not.stringContaining("disk") as string,
    });
  });
});
