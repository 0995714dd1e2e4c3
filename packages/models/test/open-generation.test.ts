import {
  add,
  broadcastTo,
  concat,
  type DeltaForm,
  dimAdd,
  expandDims,
  f32,
  full,
  iota,
  type Model,
  makeDelta,
  ortEngine,
  Rng,
  replacedParameters,
  withDeltas,
} from "@lfm/core";
import { createGenerator, createPredictor, type Generator, logProbabilities, modelFromConfig, type Predictor } from "@lfm/models";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { goldenFixture } from "./golden-fixture.js";

const golden = (name: string): Model => {
  const { config, weights } = goldenFixture(name);
  return modelFromConfig(config, weights);
};
const furthest = (a: Float32Array, b: Float32Array): number => a.reduce((worst, v, i) => Math.max(worst, Math.abs(v - b[i]!)), 0);
const argmax = (row: Float32Array): number => row.indexOf(Math.max(...row));

describe.each(["gpt2", "llama", "mistral", "gemma3", "gpt-neox"])("opened sequences of %s", (name) => {
  const model = golden(name);
  let generator: Generator;
  let predictor: Predictor;
  beforeAll(async () => {
    const engine = await ortEngine({ threads: 1 });
    generator = await createGenerator(engine, model);
    predictor = await createPredictor(engine, model, "next");
  });
  afterAll(async () => {
    await generator.dispose();
    await predictor.dispose();
  });
  /** Every row's logits are those of its tokens, read from the start. */
  const check = async (g: Awaited<ReturnType<Generator["open"]>>): Promise<void> => {
    const fresh = await predictor.predict(g.tokens);
    for (const [b, t] of fresh.entries()) expect(furthest(g.logits(b), t.data as Float32Array), `row ${b}`).toBeLessThan(5e-5);
  };

  it("take pieces of any length, row by row", async () => {
    const g = await generator.open([[4, 8, 15], [16], [23, 42]], { room: 2 });
    await check(g);
    for (const pieces of [
      [[1], [2], [3]],
      [[5, 6, 7], [], [8]],
      [[], [], [9]],
      [[], [], []],
      [[1, 2], [3, 4], [5]],
    ]) {
      await g.push(pieces);
      await check(g);
    }
    expect(g.tokens).toEqual([
      [4, 8, 15, 1, 5, 6, 7, 1, 2],
      [16, 2, 3, 4],
      [23, 42, 3, 8, 9, 5],
    ]);
  });

  it("go back and another way, as if they had never been elsewhere", async () => {
    const g = await generator.open([[4, 8, 15], [16]]);
    await g.push([[1, 2, 3], [4]]);
    await g.rewind(3);
    expect(g.tokens).toEqual([
      [4, 8, 15],
      [16, 4],
    ]);
    await check(g);
    await g.push([[7], [9]]);
    await g.rewind([2, 3]);
    await g.push([[33, 34], []]);
    expect(g.tokens).toEqual([
      [4, 8, 33, 34],
      [16, 4, 9],
    ]);
    await check(g);
    await g.rewind(1);
    await g.push([[2], [2]]);
    await check(g);
  });

  it("fork: rows are doubled, dropped and reordered, and go their own ways", async () => {
    const g = await generator.open([[4, 8, 15], [16]]);
    g.fork([1, 0, 1]);
    await check(g);
    await g.push([[1], [2], [3]]);
    g.fork([2, 1]);
    await g.push([[5, 6], [7]]);
    expect(g.tokens).toEqual([
      [16, 3, 5, 6],
      [4, 8, 15, 2, 7],
    ]);
    await check(g);
    await g.rewind([2, 4]);
    g.fork([0]);
    await check(g);
  });

  it("follow the model greedily to where generate comes", async () => {
    const prompt = [3, 1, 4];
    const { tokens, logProbs } = await generator.generate(prompt, { maxNewTokens: 8, logProbs: true });
    const g = await generator.open([prompt]);
    for (const [i, token] of tokens.entries()) {
      expect(argmax(g.logits())).toBe(token);
      expect(g.logProbabilities()[token]).toBeCloseTo(logProbs![i]!, 5);
      await g.push([[token]]);
    }
    expect(g.tokens).toEqual([[...prompt, ...tokens]]);
  });
});

it("what was cached on one side of Phi-3's border of positions is computed anew on the other", async () => {
  const engine = await ortEngine({ threads: 1 });
  const model = golden("phi3");
  expect(model.info.cacheBreak).toBe(8);
  const [generator, predictor] = [await createGenerator(engine, model), await createPredictor(engine, model, "next")];
  const g = await generator.open([[4, 8, 15, 3, 9, 2], [16]]);
  const check = async (): Promise<void> => {
    for (const [b, t] of (await predictor.predict(g.tokens)).entries())
      expect(furthest(g.logits(b), t.data as Float32Array), `row ${b}`).toBeLessThan(5e-5);
  };
  await g.push([[1, 5], [2]]);
  await check();
  await g.push([[7], []]);
  await check();
  await g.push([[6], [6, 1]]);
  await check();
  await g.rewind(7);
  await check();
  await generator.dispose();
  await predictor.dispose();
});

describe("steering", () => {
  const open = async (model = golden("llama")): Promise<Generator> => createGenerator(await ortEngine({ threads: 1 }), model);

  it("adjust changes what is likely, for one way, for draws and for beams", async () => {
    const generator = await open();
    const prompt = [3, 1, 4];
    const plain = (await generator.generate(prompt, { maxNewTokens: 6 })).tokens;
    const fresh = plain.findIndex((token, i) => i > 0 && !plain.slice(0, i).includes(token));
    const without = (logits: Float32Array): void => {
      logits[plain[fresh]!] = Number.NEGATIVE_INFINITY;
    };
    const one = await generator.generate(prompt, { maxNewTokens: 6, adjust: without });
    expect(one.tokens.slice(0, fresh)).toEqual(plain.slice(0, fresh));
    for (const more of [{}, { beams: 3 }, { temperature: 2, rng: new Rng(1) }])
      expect((await generator.generate(prompt, { maxNewTokens: 20, adjust: without, ...more })).tokens).not.toContain(plain[fresh]);
    const seen: number[][] = [];
    await generator.generateBatch([prompt, [5]], {
      maxNewTokens: 2,
      adjust: async (_logits, { sequence, tokens }) => {
        seen.push([sequence, ...tokens]);
      },
    });
    expect(seen.map((s) => [s[0], s.length - 1])).toEqual([
      [0, 0],
      [1, 0],
      [0, 1],
      [1, 1],
    ]);
    await generator.dispose();
  });

  it("stop sequences end beams as end-of-text tokens do, and the ways that do not end still go on", async () => {
    const generator = await open();
    const ends = [1, 2, 3];
    // Behind the first token is every way equally unlikely, behind the fifth one way is certain: the second beam that goes on is the better one.
    const adjust = (logits: Float32Array, { tokens }: { readonly tokens: readonly number[] }): void => {
      const certain = tokens.at(-1) === 4;
      logits.fill(certain ? Number.NEGATIVE_INFINITY : 0);
      if (tokens.length === 0) logits.set([20, 19, 18.9, 18.8, 18.5]);
      if (certain) logits[5] = 0;
    };
    const search = { maxNewTokens: 2, beams: 2, adjust };
    const stopped = await generator.generate([7], { ...search, stop: ends });
    expect(stopped).toEqual(await generator.generate([7], { ...search, eos: ends }));
    expect(stopped.tokens).toEqual([4, 5]);
    await generator.dispose();
  });

  it("an adjust that forbids everything is an error, in a beam search where every way is one that goes nowhere", async () => {
    const generator = await open();
    const only =
      (...allowed: readonly number[]) =>
      (logits: Float32Array): void => {
        const kept = allowed.map((t) => logits[t]!);
        logits.fill(Number.NEGATIVE_INFINITY);
        for (const [i, t] of allowed.entries()) logits[t] = kept[i]!;
      };
    const invalid = { code: "CONFIG_INVALID", message: expect.stringContaining("adjust") as string };
    for (const more of [{}, { beams: 3 }, { temperature: 1 }, { logProbs: true }]) {
      await expect(generator.generate([3], { maxNewTokens: 3, adjust: only(), ...more })).rejects.toMatchObject(invalid);
      await expect(generator.generate([3], { maxNewTokens: 3, adjust: (l) => void l.fill(Number.NaN), ...more })).rejects.toMatchObject(
        invalid,
      );
    }
    // 8 is a dead end, whatever the model thinks of it; 9 leads on.
    const found = await generator.generate([3], {
      maxNewTokens: 2,
      beams: 3,
      logProbs: true,
      adjust: (logits, { tokens }) => only(...(tokens.length === 0 ? [8, 9] : tokens[0] === 9 ? [10] : []))(logits),
    });
    expect(found.tokens).toEqual([9, 10]);
    expect(found.logProbs!.every(Number.isFinite)).toBe(true);
    await generator.dispose();
  });

  it("looks ahead, and goes back to read where it was unsure (FLARE, arXiv 2305.06983)", async () => {
    const generator = await open();
    const question = [3, 1, 4];
    const passage = [60, 61, 62];
    const g = await generator.open([question]);
    const probabilities: number[] = [];
    for (let i = 0; i < 6; i++) {
      const token = argmax(g.logits());
      probabilities.push(Math.exp(g.logProbabilities()[token]!));
      await g.push([[token]]);
    }
    const unsure = probabilities.findIndex((p) => p < 0.8);
    expect(unsure).toBeGreaterThanOrEqual(0);
    await g.rewind(question.length + unsure);
    const kept = g.tokens[0]!;
    await g.push([passage]);
    const again = await generator.open([[...kept, ...passage]]);
    expect(furthest(g.logProbabilities(), again.logProbabilities())).toBeLessThan(5e-5);
    await generator.dispose();
  });

  it("contrasts a model with a smaller one (arXiv 2210.15097): log p − log p of the amateur, among what the expert finds plausible", async () => {
    const [expert, amateur] = [await open(), await open(golden("gpt2"))];
    const prompt = [3, 1, 4];
    const second = await amateur.open([prompt]);
    const { tokens } = await expert.generate(prompt, {
      maxNewTokens: 5,
      adjust: async (logits, { tokens: soFar }) => {
        if (soFar.length > 0) await second.push([[soFar.at(-1)!]]);
        const [log, other] = [logProbabilities(logits), second.logProbabilities()];
        const least = Math.max(...log) + Math.log(0.1);
        for (let i = 0; i < log.length; i++) logits[i] = log[i]! < least ? Number.NEGATIVE_INFINITY : log[i]! - other[i]!;
      },
    });
    const wanted: number[] = [];
    for (let i = 0; i < 5; i++) {
      const [a, b] = await Promise.all([expert, amateur].map(async (g) => (await g.open([[...prompt, ...wanted]])).logProbabilities()));
      const least = Math.max(...a!) + Math.log(0.1);
      wanted.push(argmax(a!.map((v, k) => (v < least ? Number.NEGATIVE_INFINITY : v - b![k]!))));
    }
    expect(tokens).toEqual(wanted);
  });

  it("refuses what makes no sense", async () => {
    const generator = await open();
    const mismatch = { code: "SHAPE_MISMATCH" };
    for (const prompts of [[], [[]], [[97]], [new Array<number>(65).fill(1)]])
      await expect(generator.open(prompts)).rejects.toMatchObject(mismatch);
    const g = await generator.open([new Array<number>(63).fill(1), [2]]);
    await expect(g.push([[1, 1], []])).rejects.toMatchObject(mismatch);
    await expect(g.push([[1]])).rejects.toMatchObject(mismatch);
    await expect(g.push([[-1], []])).rejects.toMatchObject(mismatch);
    await expect(g.rewind(0)).rejects.toMatchObject(mismatch);
    expect(() => g.fork([2])).toThrow(expect.objectContaining(mismatch));
    expect(() => g.logits(2)).toThrow(expect.objectContaining(mismatch));
    await g.push([[1], []]);
    g.close();
    expect(() => g.logits()).toThrow(expect.objectContaining({ code: "CONFIG_INVALID" }));
    await expect(generator.generate([1], { maxNewTokens: 1, beams: 2, temperature: 1 })).rejects.toMatchObject({ code: "CONFIG_INVALID" });
    await expect(generator.generate([1], { maxNewTokens: 1, beams: 0 })).rejects.toMatchObject({ code: "CONFIG_INVALID" });
    await generator.dispose();
  });

  it("ends what was opened when another model is swapped in", async () => {
    const base = golden("llama");
    const w = base.info.sites.find((s) => s.kind === "head")!.weight!.name;
    const other = makeDelta(
      { id: "none", paradigm: "test", delta: replacedParameters },
      {},
      { [w]: f32(new Rng(1).normalArray(97 * 32), [97, 32]) },
    );
    const generator = await open(base);
    const g = await generator.open([[1, 2]]);
    await generator.swap(withDeltas(base, [other]));
    await expect(g.push([[1]])).rejects.toMatchObject({ code: "CONFIG_INVALID" });
    await generator.dispose();
  });
});

it("go back to the first token behind a learned prompt, which stays", async () => {
  const base = golden("llama");
  const engine = await ortEngine({ threads: 1 });
  const front = f32(new Rng(2).normalArray(3 * base.info.hiddenSize), [3, base.info.hiddenSize]);
  const delta: DeltaForm<unknown> = {
    hooks: (_c, { front: own }) => [
      {
        matches: (site) => site.kind === "embedding",
        sequence: ({ embeddings, mask, positions, prefix }) => {
          const batch = embeddings.dim(0);
          return {
            embeddings: concat([broadcastTo(expandDims(own!, 0), [batch, 3, own!.dim(1)]), embeddings], 1),
            mask: concat([full([batch, 3], 1), mask], 1),
            positions: concat([broadcastTo(expandDims(iota(3), 0), [batch, 3]), add(positions, 3)], 1),
            prefix: dimAdd(prefix, 3),
          };
        },
      },
    ],
  };
  const generator = await createGenerator(engine, withDeltas(base, [makeDelta({ id: "front", paradigm: "test", delta }, {}, { front })]));
  const g = await generator.open([[4, 8, 15]]);
  await g.rewind(1);
  const fresh = await generator.open([[4]]);
  expect(furthest(g.logits(), fresh.logits())).toBeLessThan(5e-5);
  await g.push([[16, 23]]);
  const more = await generator.open([[4, 16, 23]]);
  expect(furthest(g.logits(), more.logits())).toBeLessThan(5e-5);
  await generator.dispose();
});
