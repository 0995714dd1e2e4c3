import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createWorld } from "@lfm/data";
import { bert, initWeights, llama, saveModel } from "@lfm/models";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { lfmJson, runLfm } from "../test/run-lfm.js";
import { zooPairs } from "../test/zoo-pairs.js";
import { saveZooTokenizer } from "./inputs/zoo-folder.js";

const folder = mkdtempSync(join(tmpdir(), "lfm-preferences-"));
const at = (name: string): string => join(folder, name);
const jsonl = (name: string, rows: readonly object[]): void => writeFileSync(at(name), rows.map((r) => JSON.stringify(r)).join("\n"));
afterAll(() => rmSync(folder, { recursive: true }));

beforeAll(async () => {
  const world = createWorld();
  const size = { hidden_size: 16, num_hidden_layers: 1, num_attention_heads: 2, intermediate_size: 32, max_position_embeddings: 64 };
  for (const build of [llama, bert]) {
    const model = build({ ...size, vocab_size: world.vocabulary.words.length });
    const folder = at(model.info.architecture);
    await saveModel(folder, { ...model, params: initWeights(model.info, { seed: 1, embeddingStd: 0.5 }) });
    saveZooTokenizer(folder, { world });
  }
  jsonl("pairs.jsonl", zooPairs(24, 1));
  jsonl("held-out.jsonl", zooPairs(12, 2));
  jsonl(
    "prompts.jsonl",
    zooPairs(24, 1).map(({ prompt, chosen }) => ({ prompt, completion: chosen })),
  );
});

interface Measures {
  readonly margin?: number;
  readonly accuracy?: number;
  readonly likelier?: number;
}
const tune = ["tune", "full", "--model", at("llama"), "--lr", "0.02"];

describe("lfm tune --objective", () => {
  it("dpo raises the reward margin of held-out pairs, which lfm eval reports too", async () => {
    const data = ["--data", at("pairs.jsonl"), "--valid", at("held-out.jsonl"), "--batch-size", "8"];
    const { valid, beta } = await lfmJson(...tune, ...data, "--objective", "dpo", "--beta", "0.3", "--steps", "4", "--out", at("dpo"));
    const { before, after } = valid as { readonly before: Measures; readonly after: Measures };
    expect(beta).toBe(0.3);
    expect(Object.keys(before)).toEqual(["likelier"]);
    expect(after.margin).toBeGreaterThan(0.5);
    const measured = await lfmJson("eval", "--model", at("llama"), "--data", at("held-out.jsonl"), "--delta", at("dpo"));
    const metrics = measured.metrics as Measures;
    expect(metrics.margin! / after.margin!).toBeCloseTo(1, 4);
    expect([metrics.accuracy, metrics.likelier]).toEqual([after.accuracy, after.likelier]);
  });

  it("reward puts a head with one output on an encoder or a decoder; its scores are what lfm eval compares", async () => {
    for (const name of ["bert", "llama"]) {
      const out = at(`reward-${name}`);
      const data = ["--data", at("pairs.jsonl"), "--objective", "reward", "--batch-size", "8", "--steps", "4", "--lr", "0.02"];
      await lfmJson("tune", "full", "--model", at(name), ...data, "--out", out);
      const { metrics } = await lfmJson("eval", "--model", at(name), "--data", at("held-out.jsonl"), "--delta", out);
      expect(Object.keys(metrics as Measures), name).toEqual(["margin", "accuracy"]);
      expect((metrics as Measures).margin, name).toBeGreaterThan(0);
    }
  });

  it("says what an objective does not learn from, and which options it does not have", async () => {
    const complained = async (...more: string[]): Promise<string> => {
      const { code, err } = await runLfm(...tune, "--steps", "1", "--out", at("no"), ...more);
      expect(code).not.toBe(0);
      return err;
    };
    expect(await complained("--data", at("pairs.jsonl"))).toMatch(/--objective dpo/);
    expect(await complained("--data", at("prompts.jsonl"), "--objective", "kto")).toMatch(/wanted are prompt \+ completion \+ label/);
    expect(await complained("--data", at("pairs.jsonl"), "--objective", "orpo", "--label-smoothing", "0.1")).toMatch(/--objective dpo/);
    expect(await complained("--data", at("pairs.jsonl"), "--objective", "dpo", "--pack")).toMatch(/leave --pack out/);
  });
});

it("lfm tune --pack learns the same from fewer rows", async () => {
  const data = ["--data", at("prompts.jsonl"), "--optimizer", "sgd", "--steps", "1"];
  const { loss: alone } = await lfmJson(...tune, ...data, "--batch-size", "24", "--out", at("alone"));
  const { loss: packed } = await lfmJson(...tune, ...data, "--pack", "--max-length", "72", "--batch-size", "3", "--out", at("packed"));
  const first = (loss: unknown): number => (loss as { readonly first: number }).first;
  expect(first(packed) / first(alone)).toBeCloseTo(1, 5);
});
