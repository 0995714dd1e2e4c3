import { type Engine, ortEngine } from "@lfm/core";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { retrievalCell, untrainedContext, untrainedZoo } from "../../../test/fixtures/untrained-zoo.js";
import { scifact } from "./scifact.js";
import { wordVectors } from "./word-vectors.js";
import { zooDocuments } from "./zoo-documents.js";

let engine: Engine;
beforeAll(async () => {
  engine = await ortEngine({ threads: 1 });
});
afterAll(() => engine.dispose());

const { world } = untrainedZoo;
const context = (seed: number) => untrainedContext(engine, zooDocuments, seed);
const cell = retrievalCell;

describe("zoo-documents", () => {
  it("finds the person by the name alone but hardly the relation, and reports cost, retention and noise", async () => {
    const outcome = await zooDocuments.run(cell("bm25", { analyzer: "words" }), context(1));
    // One form in five names the relation; behind the others stand eight sentences that fit equally well: 1/5 + 4/5 · 3/8 = .5.
    expect(outcome.metrics["recall@3"]!.value).toBeGreaterThan(0.4);
    expect(outcome.metrics["recall@3"]!.value).toBeLessThan(0.6);
    expect(outcome.metrics.accuracy!.value).toBeLessThanOrEqual(0.1);
    expect(outcome.bytes).toBeGreaterThan(10_000);
    expect(outcome.retention).toMatchObject({ kept: expect.any(Number) });
    expect(outcome.monitors.map((m) => m.id)).toEqual(["retrieval-noise", "interference"]);
    expect(outcome.monitors[0]!.curve).toHaveLength(6);
  });

  it("is a function of the seed", async () => {
    const [a, b, c] = await Promise.all([1, 1, 2].map((seed) => zooDocuments.run(cell("rag", { passages: 3 }, "plain"), context(seed))));
    const stable = (outcome: typeof a): unknown => ({ ...outcome, phasesMs: undefined });
    expect(stable(a!)).toEqual(stable(b!));
    expect(a!.metrics.mrr).not.toEqual(c!.metrics.mrr);
  });

  it("finds by vectors of rare words as well, alone and together with words", async () => {
    const flat = await zooDocuments.run(cell("flat"), context(1));
    const both = await zooDocuments.run(cell("hybrid"), context(1));
    // By chance 3 of 3,840.
    expect(flat.metrics["recall@3"]!.value).toBeGreaterThan(0.2);
    expect(both.metrics["recall@3"]!.value).toBeGreaterThan(0.3);
  });
});

describe("wordVectors", () => {
  it("is the mean over words: the order of words does not count", async () => {
    const { encode } = wordVectors(untrainedZoo.lm, world);
    const [name, other] = world.strangers;
    const { data } = await encode([`home ${name}`, `${name} home`, `home ${other}`]);
    const row = (i: number): number[] => Array.from(data.slice(i * 128, (i + 1) * 128) as Float32Array);
    row(0).forEach((value, i) => {
      expect(value).toBeCloseTo(row(1)[i]!, 6);
    });
    expect(row(2)).not.toEqual(row(0));
  });
});

describe("scifact", () => {
  it("refuses methods it cannot pose its task to, and missing folders", async () => {
    const missing = (what: string) => ({ code: "CAPABILITY_MISSING", message: expect.stringContaining(what) as string });
    await expect(scifact.run(cell("rag"), context(1))).rejects.toMatchObject(missing("scifact has no answerer to give to rag"));
    await expect(scifact.run(cell("bm25"), context(1))).rejects.toMatchObject(missing("needs real data"));
  });
});
