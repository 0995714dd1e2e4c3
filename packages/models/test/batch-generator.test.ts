import { isLfmError, ortEngine, Rng } from "@lfm/core";
import { countingEngine } from "@lfm/core/testing";
import { type BatchGenerator, createBatchGenerator, createGenerator, type Generated, type Generator, modelFromConfig } from "@lfm/models";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { goldenFixture } from "./golden-fixture.js";

const golden = (name: string) => {
  const { config, weights } = goldenFixture(name);
  return modelFromConfig(config, weights);
};
/** Prompts and lengths of no order. */
const requests = [
  { prompt: [4, 8, 15, 16, 23, 42], maxNewTokens: 9 },
  { prompt: [23], maxNewTokens: 3 },
  { prompt: [42, 4, 8], maxNewTokens: 14 },
  { prompt: [16, 15], maxNewTokens: 1 },
  { prompt: [7, 7, 7, 9], maxNewTokens: 6 },
  { prompt: [1, 2], maxNewTokens: 11 },
  { prompt: [30, 31, 32, 33, 34], maxNewTokens: 2 },
  { prompt: [9], maxNewTokens: 12 },
];

describe.each(["gpt2", "gemma3"])("a batch that sequences enter and leave: %s", (name) => {
  let alone: Generator;
  let batch: BatchGenerator;
  const engine = ortEngine({ threads: 1 }).then(countingEngine);
  beforeAll(async () => {
    alone = await createGenerator(await engine, golden(name));
    batch = await createBatchGenerator(await engine, golden(name), { slots: 5, promptTokens: 4 });
  });
  afterAll(async () => {
    await alone.dispose();
    await batch.dispose();
  });

  it("gives each what it gets alone, in few steps and one session", async () => {
    const before = (await engine).counts.compiled;
    const own: Generated[] = [];
    for (const { prompt, ...o } of requests) own.push(await alone.generate(prompt, { ...o, logProbs: true }));
    const { steps, rows } = batch.load;
    const together = await Promise.all(requests.map(({ prompt, ...o }) => batch.generate(prompt, { ...o, logProbs: true })));
    expect(together.map((g) => [g.tokens, g.finish])).toEqual(own.map((g) => [g.tokens, g.finish]));
    for (const [i, g] of together.entries())
      for (const [k, p] of g.logProbs!.entries()) expect(Math.abs(p - own[i]!.logProbs![k]!)).toBeLessThan(1e-4);
    // The first token of each comes from its prompt.
    expect(batch.load.rows - rows).toBe(requests.reduce((n, r) => n + r.maxNewTokens - 1, 0));
    expect(batch.load.steps - steps).toBeLessThan(25);
    expect(batch.load).toMatchObject({ running: 0, waiting: 0 });
    expect((await engine).counts.compiled).toBe(before);
  });

  it("gives the same, whenever they come", async () => {
    const rng = new Rng(7);
    const asked: Promise<Generated>[] = [];
    for (let i = 0; i < 24; i++) {
      const { prompt, ...o } = requests[i % requests.length]!;
      asked.push(batch.generate(prompt, o));
      for (let pause = rng.int(12); pause > 0; pause--) await new Promise((resolve) => setImmediate(resolve));
    }
    const own = await Promise.all(asked);
    for (const [i, { prompt, ...o }] of requests.entries()) {
      const { tokens } = await alone.generate(prompt, o);
      for (let k = i; k < own.length; k += requests.length) expect(own[k]!.tokens).toEqual(tokens);
    }
  });
});

describe("a batch generator", () => {
  const model = golden("llama");
  let batch: BatchGenerator;
  beforeAll(async () => {
    batch = await createBatchGenerator(await ortEngine({ threads: 1 }), model, { slots: 3, promptTokens: 4 });
  });
  afterAll(() => batch.dispose());

  it("begins with a request that comes in between within two steps, reading its prompt by itself", async () => {
    let later: Promise<Generated> | undefined;
    let [came, began] = [0, 0];
    const first = batch.generate([1, 2, 3], {
      maxNewTokens: 40,
      onToken: () => {
        if (batch.load.steps < 5 || later) return;
        came = batch.load.steps;
        const read = batch.load.promptTokens;
        later = batch.generate([4, 5, 6, 7], {
          maxNewTokens: 2,
          onToken: () => {
            began ||= batch.load.steps;
            expect(batch.load.promptTokens - read).toBe(4);
          },
        });
      },
    });
    await first;
    expect((await later!).tokens.length).toBe(2);
    expect(came).toBeGreaterThanOrEqual(5);
    expect(began - came).toBeLessThanOrEqual(2);
  });

  it("reads a long prompt in pieces, between which the others go on", async () => {
    const prompt = Array.from({ length: 30 }, (_, i) => (7 * i) % 90);
    const first = batch.generate([1, 2, 3], { maxNewTokens: 30 });
    while (batch.load.running === 0) await new Promise((resolve) => setImmediate(resolve));
    const { steps } = batch.load;
    let began = 0;
    const long = await batch.generate(prompt, { maxNewTokens: 4, onToken: () => (began ||= batch.load.steps) });
    expect(began - steps, "30 tokens, four at a time").toBeGreaterThanOrEqual(7);
    await first;
    const generator = await createGenerator(await ortEngine({ threads: 1 }), model);
    expect(long).toEqual(await generator.generate(prompt, { maxNewTokens: 4 }));
    await generator.dispose();
  });

  it("continues a prompt several ways, reading it once", async () => {
    const read = batch.load.promptTokens;
    const options = [1, 2, 3, 4, 5].map((seed) => ({
      maxNewTokens: 6,
      temperature: 1,
      rng: new Rng(seed),
      topLogProbs: 3,
      logProbs: true,
    }));
    const several = await batch.generateEach([1, 2, 3], options);
    expect(batch.load.promptTokens - read).toBe(3);
    expect(new Set(several.map((g) => g.tokens.join())).size).toBeGreaterThan(1);
    for (const [i, g] of several.entries()) {
      expect(g.tokens).toEqual((await batch.generate([1, 2, 3], { ...options[i]!, rng: new Rng(i + 1) })).tokens);
      for (const [k, top] of g.top!.entries()) {
        expect(top.map((t) => t.logProb)).toEqual([...top.map((t) => t.logProb)].sort((a, b) => b - a));
        expect(top.length).toBe(3);
        const own = top.find((t) => t.token === g.tokens[k]);
        if (own) expect(own.logProb).toBeCloseTo(g.logProbs![k]!, 5);
      }
    }
  });

  it("lets one go that is stopped, or that fails, and no other", async () => {
    const stop = new AbortController();
    const whole = await batch.generate([5, 6], { maxNewTokens: 20 });
    const onToken = (): void => {
      if (batch.load.running > 2) stop.abort();
    };
    const adjust = (logits: Float32Array, { tokens }: { readonly tokens: readonly number[] }): void => {
      if (tokens.length === 3) logits.fill(Number.NEGATIVE_INFINITY);
    };
    const [stopped, fails, other, waits] = await Promise.allSettled([
      batch.generate([1, 2], { maxNewTokens: 20, signal: stop.signal, onToken }),
      batch.generate([3], { maxNewTokens: 20, adjust }),
      batch.generate([5, 6], { maxNewTokens: 20 }),
      batch.generate([5], { maxNewTokens: 5, signal: stop.signal }),
    ]);
    for (const [failed, code] of [
      [stopped, "ABORTED"],
      [fails, "CONFIG_INVALID"],
      [waits, "ABORTED"],
    ] as const)
      expect(failed.status === "rejected" && isLfmError(failed.reason, code), code).toBe(true);
    expect(other).toEqual({ status: "fulfilled", value: whole });
    expect(batch.load).toMatchObject({ running: 0, waiting: 0 });
  });

  it("refuses what it cannot do, and what comes after its end", async () => {
    expect(batch.room(10)).toBe(model.info.maxLength! - 9);
    const long = Array.from({ length: model.info.maxLength! + 1 }, () => 1);
    const other = await createBatchGenerator(await ortEngine({ threads: 1 }), model);
    const begun = other.generate([1], { maxNewTokens: 30 });
    const ended = begun.catch((e: unknown) => e);
    await new Promise((resolve) => setImmediate(resolve));
    await other.dispose();
    expect(isLfmError(await ended, "ABORTED")).toBe(true);
    for (const [failed, said] of [
      [other.generate([1], { maxNewTokens: 1 }), /was closed/],
      [batch.generate(long, { maxNewTokens: 1 }), /reads/],
      [batch.generate([], { maxNewTokens: 1 }), /is empty/],
      [batch.generate([1], { maxNewTokens: -1 }), /maxNewTokens/],
      [batch.generate([1], { maxNewTokens: 1 }, "nobody"), /no adapter "nobody"/],
    ] as const)
      await expect(failed).rejects.toThrow(said);
    await expect(createBatchGenerator(await ortEngine({ threads: 1 }), model, { slots: 0 })).rejects.toThrow(/slots is 0/);
  });
});

it("answers what an encoder reads (T5) as alone, sources of many lengths side by side", async () => {
  const engine = await ortEngine({ threads: 1 });
  const [model, o] = [golden("t5"), { maxNewTokens: 9, logProbs: true, repetitionPenalty: 1.3 }];
  const [alone, batch] = [await createGenerator(engine, model), await createBatchGenerator(engine, model, { slots: 3, promptTokens: 4 })];
  const sources = requests.map(({ prompt }) => prompt);
  const together = await Promise.all(sources.map((source) => batch.generate(source, o)));
  for (const [i, { tokens, logProbs }] of together.entries()) {
    const own = await alone.generate(sources[i]!, o);
    expect(tokens).toEqual(own.tokens);
    for (const [k, p] of logProbs!.entries()) expect(Math.abs(p - own.logProbs![k]!)).toBeLessThan(1e-4);
  }
  expect(batch.load.promptTokens).toBe(sources.flat().length);
  await alone.dispose();
  await batch.dispose();
});

describe("a sequence never grows so long that it would turn the positions of others", () => {
  it("where they are computed anew (Phi-3)", async () => {
    const batch = await createBatchGenerator(await ortEngine({ threads: 1 }), golden("phi3"));
    expect(batch.room(5)).toBe(4);
    const { tokens, finish } = await batch.generate([4, 8, 15, 3, 9], { maxNewTokens: 20 });
    expect([tokens.length, finish]).toEqual([4, "length"]);
    await batch.dispose();
  });

  it("where they stretch with the longest (dynamic)", async () => {
    const { config, weights } = goldenFixture("llama");
    const model = modelFromConfig({ ...config, max_position_embeddings: 16, rope_scaling: { rope_type: "dynamic", factor: 2 } }, weights);
    expect([model.info.maxLength, model.info.sharedBeyond]).toEqual([32, 16]);
    const batch = await createBatchGenerator(await ortEngine({ threads: 1 }), model);
    expect([batch.room(1), batch.room(16), batch.room(17)]).toEqual([16, 1, 0]);
    await batch.dispose();
  });
});
