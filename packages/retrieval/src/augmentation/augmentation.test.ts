import { f32, Rng } from "@lfm/core";
import { describe, expect, it } from "vitest";
import { type AdaptiveOptions, alwaysRetrieve, answerAdaptively, atRandom, type Draft, neverRetrieve, whenUnsure } from "./adaptive.js";
import { createKnnLm } from "./knn-lm.js";

describe("kNN-LM", () => {
  const keys = f32([0, 0, 1, 0, 0, 2], [3, 2]);
  const uniform = f32(Array(8).fill(Math.log(1 / 4)), [2, 4]);

  it("by hand: three neighbours, two of one token", async () => {
    const lm = createKnnLm(2, { lambda: 0.5, temperature: 2 });
    lm.add(keys, [1, 3, 1]);
    const asked = f32([0, 0, 0, 2], [2, 2]);
    // Squared distances 0, 1, 4 and 4, 5, 0.
    const weights = [
      [0, 1, 4],
      [4, 5, 0],
    ].map((d) => d.map((x) => Math.exp(-x / 2)));
    const near = weights.map(([a, b, c]) => [(a! + c!) / (a! + b! + c!), b! / (a! + b! + c!)]);
    const { data } = await lm.mix(uniform, asked);
    const wanted = near.flatMap(([one, three]) => [1 / 8, one! / 2 + 1 / 8, 1 / 8, three! / 2 + 1 / 8]);
    expect(Array.from(data, Number)).toEqual(wanted.map((p) => expect.closeTo(Math.log(p), 5)));
    expect([...(await lm.neighbours(asked, [3, 1]))]).toEqual([expect.closeTo(near[0]![1]!, 6), expect.closeTo(near[1]![0]!, 6)]);
  });

  it("λ = 0 is the model to the bit, λ = 1 the neighbours; an empty store changes nothing", async () => {
    const none = createKnnLm(2, { lambda: 0 });
    none.add(keys, [1, 3, 1]);
    const asked = f32([5, 5, 0, 0], [2, 2]);
    expect(await none.mix(uniform, asked)).toBe(uniform);
    expect(await createKnnLm(2).mix(uniform, asked)).toBe(uniform);
    const all = createKnnLm(2, { lambda: 1, k: 1 });
    all.add(keys, [1, 3, 1]);
    expect(Array.from((await all.mix(uniform, f32([1, 0, 0, 2], [2, 2]))).data, Number)).toEqual([
      -Infinity,
      -Infinity,
      -Infinity,
      0,
      -Infinity,
      0,
      -Infinity,
      -Infinity,
    ]);
  });

  it("probabilities add up to 1, by any index", async () => {
    const rng = new Rng(3);
    for (const factory of ["Flat", "HNSW4", "IVF4,Flat"]) {
      const lm = createKnnLm(6, { factory, k: 5, lambda: 0.3 });
      lm.add(
        f32(rng.normalArray(300 * 6), [300, 6]),
        Array.from({ length: 300 }, () => rng.int(4)),
      );
      const { data } = await lm.mix(uniform, f32(rng.normalArray(12), [2, 6]));
      for (const row of [data.slice(0, 4), data.slice(4)])
        expect(Array.from(row, Number).reduce((s, lp) => s + Math.exp(lp), 0)).toBeCloseTo(1, 5);
    }
  });

  it("names what does not fit", async () => {
    expect(() => createKnnLm(2, { lambda: 2 })).toThrow(/lambda in 0\.\.1/);
    expect(() => createKnnLm(2).add(keys, [1])).toThrow(/3 keys and 1 tokens/);
    await expect(createKnnLm(2).mix(uniform, keys)).rejects.toMatchObject({ code: "SHAPE_MISMATCH" });
  });
});

describe("adaptive retrieval", () => {
  const sentences = ["It rains .", "It pours ."];
  /** Writes the two sentences; the second is unsure, unless something was looked up for it. */
  const asked: string[] = [];
  const options = (policy: AdaptiveOptions["policy"]): AdaptiveOptions => ({
    question: "what?",
    policy,
    draft: async (prompt): Promise<Draft> => {
      asked.push(prompt);
      const [found, written] = prompt.split("|") as [string, string];
      const step = written.includes("rains") ? 1 : 0;
      const text = found === "" ? sentences[step]! : sentences[step]!.replace("pours", "snows");
      const pieces = text
        .split(/(?= )/)
        .map((word) => ({ text: word, probability: step === 1 && found === "" ? (word === " pours" ? 0.1 : 0.7) : 0.95 }));
      return { pieces: step === 1 ? pieces : [...pieces, { text: " more", probability: 0.1 }], ended: step === 1 };
    },
    retrieve: async (query) => {
      asked.push(`? ${query}`);
      return [{ id: `p of ${query}`, text: "x" }];
    },
    prompt: (_q, passages, written) => `${passages.map((p) => p.id).join(",")}|${written}`,
  });

  it("looks up where the model is unsure, and for what it is sure of", async () => {
    asked.length = 0;
    expect(await answerAdaptively(options(whenUnsure()))).toEqual({
      text: "It rains .It snows .",
      steps: 2,
      retrievals: 1,
      citations: ["p of It ."],
    });
    expect(asked).toEqual(["|", "|It rains .", "? It .", "p of It .|It rains ."]);
  });

  it("always and never are its limits; more is looked up the higher the threshold", async () => {
    const rate = async (policy: AdaptiveOptions["policy"]): Promise<number> => {
      const { steps, retrievals } = await answerAdaptively(options(policy));
      return retrievals / steps;
    };
    expect([await rate(neverRetrieve), await rate(alwaysRetrieve)]).toEqual([0, 1]);
    const curve = await Promise.all([0, 0.05, 0.5, 0.9, 1.1].map((theta) => rate(whenUnsure({ theta }))));
    expect(curve).toEqual([0, 0, 0.5, 0.5, 1]);
    expect([await rate(atRandom(0, new Rng(1))), await rate(atRandom(1, new Rng(1)))]).toEqual([0, 1]);
    const always = await answerAdaptively(options(alwaysRetrieve));
    expect(always.citations).toEqual(["p of It rains .", "p of It pours ."]);
  });

  it("stops at a text's end, at its most sentences, and when it is asked to", async () => {
    const quiet = { ...options(neverRetrieve), draft: async (): Promise<Draft> => ({ pieces: [], ended: true }) };
    expect(await answerAdaptively(quiet)).toEqual({ text: "", steps: 0, retrievals: 0, citations: [] });
    expect((await answerAdaptively({ ...options(neverRetrieve), sentences: 1 })).text).toBe("It rains .");
    await expect(answerAdaptively({ ...options(neverRetrieve), signal: AbortSignal.abort() })).rejects.toMatchObject({ code: "ABORTED" });
    expect(() => whenUnsure({ beta: 2 })).toThrow(/beta in 0\.\.1/);
  });
});
