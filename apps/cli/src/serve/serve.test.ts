import { ortEngine, withDeltas } from "@lfm/core";
import { continuationOf, createEncoder, createGenerator, type Generator, loadModel, promptIds } from "@lfm/models";
import { fromPeft } from "@lfm/tuning";
import type OpenAI from "openai";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { adapterFolder, encoder, languageModel, open, type Started, start } from "../../test/serve-fixture.js";

const ranks = { low: 2, high: 5, third: 3, dora: 2 };
const folders: Record<string, string> = {};
let it0: Started;
let client: OpenAI;
beforeAll(async () => {
  for (const [i, [name, r]] of Object.entries(ranks).entries()) folders[name] = await adapterFolder(name, i + 1, r, name === "dora");
  it0 = await start(
    await open(
      [languageModel, `sentences=${encoder}`],
      Object.entries(folders).map(([name, folder]) => `${name}=${folder}`),
    ),
  );
  client = it0.client;
});
afterAll(() => it0.server.close());

const prompts = ["the cat sat on", "the home of Ada is", "red blue red", "a dog ran"];
const engine = ortEngine({ threads: 1 });
const words = loadModel(languageModel);
const generators = new Map<string, Promise<Generator>>();
/** What a generator of its own says. */
async function alone(prompt: string, adapter = "", maxNewTokens = 12): Promise<string> {
  const { model, text } = await words;
  const own = adapter === "" ? model : withDeltas(model, [fromPeft(folders[adapter]!, model)]);
  const generator = generators.get(adapter) ?? createGenerator(await engine, own);
  generators.set(adapter, generator);
  const ids = promptIds(text!, prompt);
  const { options, text: textOf } = continuationOf(text!, ids.length, { maxNewTokens });
  return textOf((await (await generator).generate(ids, options)).tokens);
}
const plain = { model: "words", max_tokens: 12 } as const;

describe("completions", () => {
  it("say what the model says alone, of several prompts at once too, as text or as ids", async () => {
    const expected = await Promise.all(prompts.map((p) => alone(p)));
    const [one] = await Promise.all(prompts.slice(0, 1).map((prompt) => client.completions.create({ ...plain, prompt })));
    expect(one).toMatchObject({
      object: "text_completion",
      model: "words",
      choices: [{ index: 0, text: expected[0], finish_reason: "length", logprobs: null }],
      usage: { prompt_tokens: 4, completion_tokens: 12, total_tokens: 16 },
    });
    const all = await client.completions.create({ ...plain, prompt: prompts });
    expect(all.choices.map((c) => [c.index, c.text])).toEqual(expected.map((text, i) => [i, text]));
    const ids = await client.completions.create({ ...plain, prompt: [4, 6, 8, 10] });
    expect(ids.choices[0]!.text).toBe(expected[0]);
    const echoed = await client.completions.create({
      ...plain,
      prompt: [
        [4, 6, 8, 10],
        [5, 7, 9],
      ],
      echo: true,
    });
    expect(echoed.choices.map((c) => c.text)).toEqual([`the cat sat on${expected[0]}`, `a dog ran${expected[3]}`]);
  });

  it("stream the same text, with its log probabilities and its end", async () => {
    const asked = { ...plain, prompt: prompts.slice(0, 2), logprobs: 2, n: 2 } as const;
    const whole = await client.completions.create(asked);
    const stream = await client.completions.create({ ...asked, stream: true, stream_options: { include_usage: true } });
    const [texts, finishes, tokens]: [string[], string[], string[][]] = [["", "", "", ""], [], [[], [], [], []]];
    let usage: unknown;
    for await (const { choices, usage: said } of stream) {
      for (const { index, text, finish_reason: finish, logprobs } of choices) {
        texts[index]! += text;
        tokens[index]!.push(...(logprobs?.tokens ?? []));
        if (finish) finishes[index] = finish;
      }
      usage = said ?? usage;
    }
    expect(texts).toEqual(whole.choices.map((c) => c.text));
    expect(finishes).toEqual(whole.choices.map((c) => c.finish_reason));
    expect(tokens).toEqual(whole.choices.map((c) => c.logprobs!.tokens));
    expect(usage).toEqual(whole.usage);
    const odds = whole.choices[0]!.logprobs!;
    expect(odds.token_logprobs!.length).toBe(12);
    for (const [i, top] of odds.top_logprobs!.entries()) {
      expect(Object.keys(top).length).toBe(2);
      // The most likely token was taken.
      expect(top[odds.tokens![i]!]).toBeCloseTo(odds.token_logprobs![i]!, 5);
    }
  });

  it("end before a stop text and at an end token", async () => {
    const text = await alone(prompts[0]!);
    const word = text.split(" ")[3]!;
    const stopped = await client.completions.create({ ...plain, prompt: prompts[0]!, stop: [word] });
    expect(stopped.choices[0]).toMatchObject({ text: text.slice(0, text.indexOf(word)), finish_reason: "stop" });
    let streamed = "";
    for await (const { choices } of await client.completions.create({ ...plain, prompt: prompts[0]!, stop: word, stream: true }))
      streamed += choices[0]?.text ?? "";
    expect(streamed).toBe(stopped.choices[0]!.text);
    const ended = await client.completions.create({ ...plain, prompt: prompts[0]!, logit_bias: { "2": 100 } });
    expect(ended).toMatchObject({ choices: [{ text: "", finish_reason: "stop" }], usage: { completion_tokens: 1 } });
  });

  it("draw by seed, several ways, and by penalties", async () => {
    const drawn = { ...plain, prompt: prompts[1]!, temperature: 2, n: 3 };
    const texts = async (more: object): Promise<string[]> =>
      (await client.completions.create({ ...drawn, ...more, stream: false })).choices.map((c) => c.text);
    const [first, again, other] = [await texts({ seed: 7 }), await texts({ seed: 7 }), await texts({ seed: 8 })];
    expect(first).toEqual(again);
    expect(first).not.toEqual(other);
    expect(new Set(first).size).toBeGreaterThan(1);
    expect(await texts({})).not.toEqual(await texts({}));
    const said = await client.completions.create({
      ...plain,
      max_tokens: 30,
      prompt: "red",
      temperature: 0,
      presence_penalty: 2,
      frequency_penalty: 2,
    });
    const words = said.choices[0]!.text.trim().split(" ");
    expect(new Set(words).size, "what has come is less likely to come again").toBeGreaterThan(0.7 * words.length);
  });
});

describe("adapters", () => {
  it("answer by name, all in one batch, each as alone; what is more than a LoRA in its own", async () => {
    const names = [...Object.keys(ranks), undefined];
    const own = await Promise.all(names.map((name) => alone(prompts[1]!, name)));
    expect(new Set(own).size).toBe(5);
    const asked = await Promise.all(
      [0, 1, 2].flatMap(() => names.map((name) => client.completions.create({ ...plain, model: name ?? "words", prompt: prompts[1]! }))),
    );
    for (const [i, { model, choices }] of asked.entries()) {
      expect(model).toBe(names[i % 5] ?? "words");
      expect(choices[0]!.text, model).toBe(own[i % 5]);
    }
    const generators = it0.served.flatMap((s) => (s.kind === "language" ? [[s.id, s.generator] as const] : []));
    const shared = generators.filter(([, generator]) => generator === generators[0]![1]).map(([id]) => id);
    expect(shared).toEqual(["words", "low", "high", "third"]);
  });

  it("stand in the list of models, with what they are on", async () => {
    const models = (await client.models.list()).data;
    expect(models.map((m) => m.id)).toEqual(["words", "low", "high", "third", "dora", "sentences"]);
    expect(await client.models.retrieve("low")).toMatchObject({ id: "low", object: "model", owned_by: "lfm", parent: "words" });
    await expect(client.models.retrieve("lower")).rejects.toMatchObject({ status: 404, code: "model_not_found" });
  });
});

describe("chats", () => {
  const messages = [
    { role: "developer", content: "two" },
    { role: "user", content: [{ type: "text", text: "the home of Ada" }] },
  ] satisfies OpenAI.ChatCompletionMessageParam[];

  it("answer by the folder's template, streamed the same", async () => {
    const answer = await alone("one two the home of Ada is", undefined, 9);
    const asked = { model: "words", messages, max_completion_tokens: 9, logprobs: true, top_logprobs: 3 } as const;
    const whole = await client.chat.completions.create(asked);
    expect(whole).toMatchObject({
      object: "chat.completion",
      choices: [{ index: 0, message: { role: "assistant", content: answer }, finish_reason: "stop" }],
      usage: { prompt_tokens: 7, completion_tokens: 8 },
    });
    const odds = whole.choices[0]!.logprobs!.content!;
    const words = odds.map((o) => o.token).filter((token) => !token.startsWith("<"));
    expect(words.join(" "), "special tokens are no text").toBe(answer);
    for (const { logprob, token, bytes, top_logprobs: top } of odds) {
      expect(Buffer.from(bytes!).toString()).toBe(token);
      expect(top.length).toBe(3);
      expect(top[0]).toMatchObject({ token });
      expect(top[0]!.logprob).toBeCloseTo(logprob, 5);
    }
    const stream = client.chat.completions.stream({ ...asked, stream_options: { include_usage: true } });
    const final = await stream.finalChatCompletion();
    expect(final.choices[0]!.message.content).toBe(answer);
    expect(final.choices[0]!.logprobs!.content!.map((o) => o.token)).toEqual(odds.map((o) => o.token));
    expect(final.usage).toEqual(whole.usage);
  });

  it("go on to the end of what the model reads, or of what the server gives, where nothing is said", async () => {
    const short = await client.chat.completions.create({ model: "words", messages, logit_bias: { "2": -100 } });
    expect(short.usage!.completion_tokens).toBe(40);
    const long = Array.from({ length: 50 }, () => "red").join(" ");
    const rest = await client.chat.completions.create({
      model: "words",
      messages: [{ role: "user", content: long }],
      logit_bias: { "2": -100 },
    });
    expect(rest.choices[0]!.finish_reason).toBe("length");
    expect(rest.usage!.prompt_tokens + rest.usage!.completion_tokens).toBe(65);
  });
});

describe("embeddings", () => {
  it("are those of the encoder, as numbers or packed as the client wants them", async () => {
    const texts = ["hello world", "a", "the home of Ada is"];
    const { model, tokenizer, sentence } = await loadModel(encoder);
    const own = await createEncoder(await engine, model, tokenizer!, sentence);
    const { data } = await own.encode(texts);
    for (const encoding_format of [undefined, "float", "base64"] as const) {
      const found = await client.embeddings.create({ model: "sentences", input: texts, ...(encoding_format ? { encoding_format } : {}) });
      expect(found.data.map((d) => d.index)).toEqual([0, 1, 2]);
      expect(found.usage.total_tokens).toBeGreaterThan(5);
      for (const [i, { embedding }] of found.data.entries()) {
        const values =
          typeof embedding === "string" ? [...new Float32Array(new Uint8Array(Buffer.from(embedding, "base64")).buffer)] : embedding;
        expect(values).toEqual([...(data as Float32Array).subarray(i * own.dimension, (i + 1) * own.dimension)]);
      }
    }
    expect((await client.embeddings.create({ model: "sentences", input: "a" })).data.length).toBe(1);
  });
});
