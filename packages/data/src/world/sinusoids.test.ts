import { expect, it } from "vitest";
import { sinusoidEpisodes } from "./sinusoids.js";

it("draws curves of MAML's family: points lie on them, parameters in their ranges", () => {
  const episodes = Array.from({ length: 40 }, (_, step) =>
    sinusoidEpisodes({ seed: 1, split: "train", shots: 5, queries: 7 }, step),
  ).flat();
  expect(episodes).toHaveLength(1000);
  for (const { amplitude, phase, support, query } of episodes) {
    expect(support.x.shape).toEqual([5, 1]);
    expect(query.y.shape).toEqual([7, 1]);
    for (const { x, y } of [support, query]) {
      x.data.forEach((v, i) => {
        expect(Math.abs(Number(v))).toBeLessThanOrEqual(5);
        expect(Number(y.data[i])).toBeCloseTo(amplitude * Math.sin(Number(v) - phase), 5);
      });
    }
  }
  const amplitudes = episodes.map((e) => e.amplitude);
  const phases = episodes.map((e) => e.phase);
  expect(Math.min(...amplitudes)).toBeGreaterThanOrEqual(0.1);
  expect(Math.max(...amplitudes)).toBeLessThan(5);
  expect(amplitudes.reduce((a, v) => a + v, 0) / 1000).toBeCloseTo(2.55, 0);
  expect(Math.min(...phases)).toBeGreaterThanOrEqual(0);
  expect(Math.max(...phases)).toBeLessThan(Math.PI);
  expect(phases.reduce((a, v) => a + v, 0) / 1000).toBeCloseTo(Math.PI / 2, 0);
});

it("is a pure function of options and step; steps and splits differ", () => {
  const options = { seed: 2, split: "train", tasks: 2 } as const;
  expect(sinusoidEpisodes(options, 3)).toEqual(sinusoidEpisodes(options, 3));
  expect(sinusoidEpisodes(options, 4)).not.toEqual(sinusoidEpisodes(options, 3));
  expect(sinusoidEpisodes({ ...options, split: "test" }, 3)).not.toEqual(sinusoidEpisodes(options, 3));
  expect(sinusoidEpisodes(options, 0)[0]!.query.x.shape).toEqual([10, 1]);
});
