import { Rng } from "@lfm/core";
import { describe, expect, it } from "vitest";
import { noiseCurve, noiseMonitor } from "./noise.js";

const questions = Array.from({ length: 40 }, (_, i) => ({
  text: `q${i}`,
  answer: `a${i}`,
  relevant: [{ id: `r${i}`, text: `q${i} a${i}` }],
}));
const distractors = Array.from({ length: 60 }, (_, i) => ({ id: i < 40 ? `r${i}` : `x${i}`, text: i < 40 ? `q${i} a${i}` : `q a${i}` }));
const options = { questions, distractors, template: "{passages} ? {question}", separator: " . ", rng: new Rng(4) };
const passagesOf = (prompt: string): string[] => prompt.split(" ? ")[0]!.split(" . ");

describe("noiseCurve", () => {
  it("a perfect reader keeps its accuracy until no relevant passage is left", async () => {
    const counts: number[] = [];
    const curve = await noiseCurve({
      ...options,
      answer: async (prompts) => {
        counts.push(passagesOf(prompts[0]!).length);
        return prompts.map((prompt) => {
          const question = prompt.split(" ? ")[1]!;
          return (
            passagesOf(prompt)
              .find((p) => p.startsWith(`${question} `))
              ?.split(" ")[1] ?? ""
          );
        });
      },
    });
    expect(counts).toEqual([1, 2, 3, 5, 9, 5]);
    expect(curve).toEqual([0, 1 / 2, 2 / 3, 4 / 5, 8 / 9, 1].map((share) => [share, share < 1 ? 1 : 0]));
    expect(noiseMonitor(curve)).toMatchObject({ id: "retrieval-noise", value: 0, warning: false });
  });

  it("a reader of the first passage only loses with the noise, and is warned of", async () => {
    const curve = await noiseCurve({ ...options, answer: async (prompts) => prompts.map((p) => passagesOf(p)[0]!.split(" ")[1]!) });
    expect(curve[0]![1]).toBe(1);
    expect(curve[4]![1]).toBeLessThan(0.5);
    const monitor = noiseMonitor(curve);
    expect(monitor.warning).toBe(true);
    expect(monitor.message).toMatch(/1\.000 with 0 % irrelevant passages, 0\.\d+ with 89 %/);
  });

  it("refuses what it cannot measure", async () => {
    await expect(noiseCurve({ ...options, questions: [], answer: async () => [] })).rejects.toMatchObject({ code: "CONFIG_INVALID" });
    await expect(noiseCurve({ ...options, distractors: [], answer: async () => [] })).rejects.toMatchObject({ code: "CONFIG_INVALID" });
  });
});
