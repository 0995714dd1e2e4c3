import { type Engine, ortEngine } from "@lfm/core";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { retrievalCell, untrainedContext } from "../../../test/fixtures/untrained-zoo.js";
import { adaptiveRetrieval } from "./adaptive.js";
import { contradictingNoise, irrelevantNoise } from "./noise.js";
import { ragScale } from "./rag-scale.js";

let engine: Engine;
beforeAll(async () => {
  engine = await ortEngine({ threads: 1 });
});
afterAll(() => engine.dispose());
const bm25 = retrievalCell("bm25", { analyzer: "words" });

describe("rag-scale", () => {
  it("covers more the larger the database, finds nothing that is not there, and names the sweet spot by its rule", async () => {
    const sizes = [400, 4000];
    const { metrics, curves, bytes } = await ragScale.run(
      { ...bm25, options: { sizes, questions: 48, passages: 8 } },
      untrainedContext(engine, ragScale, 1),
    );
    const of = (what: string): number[] => curves[`share of questions by passages: ${what}`]!.map(([, y]) => y);
    const [covered, found, answered] = [of("in the database"), of("found"), of("answered")];
    // 200 and 2,000 of 3,072 facts about strangers.
    expect(covered[0]).toBeLessThan(0.2);
    expect(covered[1]).toBeGreaterThan(0.45);
    for (const [i, share] of found.entries()) expect(share).toBeLessThanOrEqual(covered[i]!);
    expect(found[1]).toBeGreaterThan(0.8 * covered[1]!);
    // A model that has learned nothing: all sizes are equal, and the smallest is enough.
    expect(Math.max(...answered)).toBeLessThan(0.1);
    expect(metrics.sweetSpot!.value).toBe(answered[1]! - answered[0]! > 0.02 ? 4000 : 400);
    expect(bytes).toBeGreaterThan(10_000);
  });
});

describe("noise in the database", () => {
  const options = { people: [24], shares: [0, 0.8], questions: 96 };

  it("that contradicts hides the passage among its like; opinions do not, for they are longer", async () => {
    const run = (scenario: typeof irrelevantNoise) => scenario.run({ ...bm25, options }, untrainedContext(engine, scenario, 1));
    const [irrelevant, contradicting] = [await run(irrelevantNoise), await run(contradictingNoise)];
    const recall = ({ curves }: typeof irrelevant): number[] => curves["recall by share of noise: 192 facts"]!.map(([, y]) => y);
    expect(recall(irrelevant)[1]).toBeCloseTo(recall(irrelevant)[0]!, 1);
    expect(recall(contradicting)[1]).toBeLessThan(0.5 * recall(contradicting)[0]!);
    expect(irrelevant.monitors).toMatchObject([
      { id: "retrieval-noise", message: expect.stringContaining(" 0 % irrelevant passages") as string },
    ]);
    expect(contradicting.monitors).toMatchObject([{ message: expect.stringContaining(" 0 % contradicting passages") as string }]);
  });
});

describe("adaptive-retrieval", () => {
  it("looks up nothing where a model is never sure and most questions may not be looked up", async () => {
    const { metrics, curves } = await adaptiveRetrieval.run(
      { ...bm25, options: { questions: 16, validation: 16 } },
      untrainedContext(engine, adaptiveRetrieval, 1),
    );
    expect(metrics).toMatchObject({ threshold: { value: 0 }, retrievalRate: { value: 0 } });
    expect(metrics.accuracy!.value).toBe(metrics.accuracyNever!.value);
    const rates = curves["accuracy by share of questions looked up: where unsure"]!.map(([rate]) => rate);
    expect(rates).toEqual(rates.toSorted((a, b) => a - b));
    expect([rates[0], rates.at(-1)]).toEqual([0, 1]);
  });
});
