import type { Rng } from "@lfm/core";
import type { Generator } from "@lfm/models";
import { describe, expect, it } from "vitest";
import { answerReader, selfConsistency } from "./self-consistency.js";

/** Ways as they come, whatever is asked. */
const ways = (...tokens: readonly number[][]): Pick<Generator, "generateBatch"> => ({
  generateBatch: async (prompts) => prompts.map((_, i) => ({ tokens: tokens[i]!, finish: "eos" as const })),
});
const last = (tokens: readonly number[]): string | undefined => (tokens.length === 0 ? undefined : String(tokens.at(-1)));
const options = { maxNewTokens: 3, temperature: 0.7, answerOf: last };

describe("self-consistency", () => {
  it("by hand: the answer of most ways, with its share and the first way to it", async () => {
    expect(await selfConsistency(ways([5, 1], [6, 2], [7, 2], [8, 3], []), [0], { ...options, votes: 5 })).toEqual({
      answer: "2",
      agreement: 0.4,
      answers: [
        { answer: "2", votes: 2 },
        { answer: "1", votes: 1 },
        { answer: "3", votes: 1 },
      ],
      tokens: [6, 2],
    });
  });

  it("of equally many the one that came first; of no answer none; one way needs no sampling", async () => {
    expect((await selfConsistency(ways([9], [4], [4], [9]), [0], { ...options, votes: 4 })).answer).toBe("9");
    expect(await selfConsistency(ways([]), [0], { ...options, votes: 1, temperature: 0 })).toEqual({
      answer: undefined,
      agreement: 0,
      answers: [],
      tokens: [],
    });
  });

  it("draws every way from one prompt with the caller's randomness, and refuses ways that would all be one", async () => {
    let asked: { readonly prompts: readonly (readonly number[])[]; readonly rng: Rng | undefined } | undefined;
    const generator: Pick<Generator, "generateBatch"> = {
      generateBatch: async (prompts, { rng }) => {
        asked = { prompts, rng };
        return prompts.map(() => ({ tokens: [1], finish: "length" as const }));
      },
    };
    await selfConsistency(generator, [3, 4], { ...options, votes: 2 });
    expect(asked!.prompts).toEqual([
      [3, 4],
      [3, 4],
    ]);
    expect(asked!.rng).toBeDefined();
    await expect(selfConsistency(generator, [3], { ...options, temperature: 0, votes: 2 })).rejects.toMatchObject({
      code: "CONFIG_INVALID",
    });
    await expect(selfConsistency(generator, [3], { ...options, votes: 0 })).rejects.toMatchObject({ code: "CONFIG_INVALID" });
  });

  it("reads an answer out of the text: the last match, its group", () => {
    const read = answerReader("answer is:? *([\\w-]+)");
    expect(read("First the answer is 3. No: the answer is -7.")).toBe("-7");
    expect(read("I do not know.")).toBeUndefined();
    expect(answerReader("\\d+")("1, 2, 30")).toBe("30");
    expect(() => answerReader("(")).toThrowError(/no regular expression/);
  });
});
