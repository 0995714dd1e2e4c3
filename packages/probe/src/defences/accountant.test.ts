import { readFileSync } from "node:fs";
import { Rng } from "@lfm/core";
import { expect, it } from "vitest";
import { defaultOrders, noiseFor, poissonSample, privacySpent, renyiDivergence } from "./accountant.js";

interface Case {
  readonly sampleRate: number;
  readonly noiseMultiplier: number;
  readonly steps: number;
  readonly delta: number;
  readonly epsilon: number;
  readonly order: number;
}
const read = (name: string): readonly Case[] =>
  JSON.parse(readFileSync(new URL(`../../test/golden/accountant/${name}`, import.meta.url), "utf8")) as readonly Case[];

it("spends what Opacus' RDPAccountant says, at the same order", () => {
  for (const { epsilon, order, delta, ...training } of read("opacus.json")) {
    const spent = privacySpent(training, delta);
    expect(Math.abs(spent.epsilon / epsilon - 1), JSON.stringify(training)).toBeLessThan(1e-6);
    expect(spent.order).toBeCloseTo(order, 10);
  }
});

it("of whole orders it is the binomial sum, of q = 1 the Gaussian mechanism", () => {
  // α = 2: Σ binom(2, i) (1 − q)^(2−i) q^i exp((i² − i) / 2σ²) = (1 − q)² + 2q(1 − q) + q² e^(1/σ²).
  const [q, s] = [0.1, 1.3];
  expect(renyiDivergence({ sampleRate: q, noiseMultiplier: s }, 2)).toBeCloseTo(
    Math.log((1 - q) ** 2 + 2 * q * (1 - q) + q * q * Math.exp(1 / s ** 2)),
    12,
  );
  expect(renyiDivergence({ sampleRate: 1, noiseMultiplier: 2 }, 5)).toBe(5 / 8);
  expect(renyiDivergence({ sampleRate: 0.999999999, noiseMultiplier: 2 }, 5)).toBeCloseTo(5 / 8, 6);
});

it("limits: no step spends nothing, no noise spends all, and steps add up", () => {
  const training = { sampleRate: 0.02, noiseMultiplier: 1.1, steps: 400 };
  expect(privacySpent({ ...training, steps: 0 }, 1e-5).epsilon).toBe(0);
  expect(privacySpent({ ...training, noiseMultiplier: 0 }, 1e-5).epsilon).toBe(Number.POSITIVE_INFINITY);
  const halves = [
    { ...training, steps: 100 },
    { ...training, steps: 300 },
  ];
  expect(privacySpent(halves, 1e-5)).toEqual(privacySpent(training, 1e-5));
  expect(() => privacySpent({ ...training, sampleRate: 2 }, 1e-5)).toThrow("outside 0..1");
  expect(() => privacySpent(training, 0)).toThrow("δ");
  expect(defaultOrders).toHaveLength(151);
});

it("finds the noise for an ε", () => {
  const training = { sampleRate: 0.02, steps: 400 };
  const noiseMultiplier = noiseFor(2, 1e-5, training);
  expect(privacySpent({ ...training, noiseMultiplier }, 1e-5).epsilon).toBeLessThanOrEqual(2);
  expect(privacySpent({ ...training, noiseMultiplier: 0.997 * noiseMultiplier }, 1e-5).epsilon).toBeGreaterThan(2);
});

it("samples by Poisson: sizes are binomial, and an example is taken whatever others are", () => {
  const [n, q, steps] = [200, 0.05, 2000];
  const rng = new Rng(4);
  const sizes: number[] = [];
  let [first, both] = [0, 0];
  for (let i = 0; i < steps; i++) {
    const taken = poissonSample(n, q, rng);
    sizes.push(taken.length);
    if (taken.includes(0)) first++;
    if (taken.includes(0) && taken.includes(1)) both++;
  }
  const mean = sizes.reduce((a, b) => a + b, 0) / steps;
  const variance = sizes.reduce((sum, v) => sum + (v - mean) ** 2, 0) / (steps - 1);
  // Mean nq = 10 and variance nq(1 − q) = 9.5, each within five of its standard errors; a batch of fixed size has none.
  expect(Math.abs(mean - 10)).toBeLessThan(5 * Math.sqrt(9.5 / steps));
  expect(Math.abs(variance - 9.5)).toBeLessThan(5 * 9.5 * Math.sqrt(2 / steps));
  expect(Math.abs(first / steps - q)).toBeLessThan(5 * Math.sqrt((q * (1 - q)) / steps));
  expect(both / steps).toBeLessThan(q * q + 5 * Math.sqrt((q * q) / steps));
});
