import { Rng } from "@lfm/core";
import { expect, it } from "vitest";
import { type SamplingOptions, sampleToken } from "./sampling.js";

/** softmax of these is .1, .4, .2, .3 */
const logits = Float32Array.from([0.1, 0.4, 0.2, 0.3], Math.log);

function shares(options: SamplingOptions): number[] {
  const rng = new Rng(3);
  const counts = [0, 0, 0, 0];
  for (let i = 0; i < 20_000; i++) counts[sampleToken(logits, options, rng)]!++;
  return counts.map((c) => c / 20_000);
}

/** Four standard errors of a share of .5 in 20,000 draws. */
const within = 0.0142;

it.each<[string, SamplingOptions, number[]]>([
  ["nothing asked: greedy", {}, [0, 1, 0, 0]],
  ["temperature 0: greedy", { temperature: 0, topK: 3 }, [0, 1, 0, 0]],
  ["temperature 1: the probabilities", { temperature: 1 }, [0.1, 0.4, 0.2, 0.3]],
  ["temperature .5: their squares", { temperature: 0.5 }, [0.01 / 0.3, 0.16 / 0.3, 0.04 / 0.3, 0.09 / 0.3]],
  ["top-k 2", { topK: 2 }, [0, 4 / 7, 0, 3 / 7]],
  ["top-k beyond the vocabulary", { topK: 9 }, [0.1, 0.4, 0.2, 0.3]],
  ["top-p .5: as few as reach it", { topP: 0.5 }, [0, 4 / 7, 0, 3 / 7]],
  ["top-p .75", { topP: 0.75 }, [0, 4 / 9, 2 / 9, 3 / 9]],
  ["top-p 1", { topP: 1, temperature: 1 }, [0.1, 0.4, 0.2, 0.3]],
  ["top-k before top-p", { topK: 3, topP: 0.8 }, [0, 4 / 9, 2 / 9, 3 / 9]],
  ["min-p .6: what is at least .24", { minP: 0.6 }, [0, 4 / 7, 0, 3 / 7]],
  ["min-p of the temperature's probabilities", { minP: 0.6, temperature: 0.5 }, [0, 1, 0, 0]],
  ["min-p after top-k", { minP: 0.2, topK: 2 }, [0, 4 / 7, 0, 3 / 7]],
  ["min-p 0", { minP: 0 }, [0.1, 0.4, 0.2, 0.3]],
  ["top-k 2 before top-p .5: 4/7 is enough", { topK: 2, topP: 0.5 }, [0, 1, 0, 0]],
])("%s", (_what, options, wanted) => {
  shares(options).forEach((share, i) => {
    expect(Math.abs(share - wanted[i]!)).toBeLessThanOrEqual(within);
    if (wanted[i] === 0 || wanted[i] === 1) expect(share).toBe(wanted[i]);
  });
});

it("of equal values the first counts for top-k", () => {
  const flat = new Float32Array(6);
  const rng = new Rng(1);
  const drawn = new Set(Array.from({ length: 200 }, () => sampleToken(flat, { topK: 2 }, rng)));
  expect([...drawn].sort()).toEqual([0, 1]);
});
