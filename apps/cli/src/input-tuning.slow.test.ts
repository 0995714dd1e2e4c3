import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { lfmJson, runLfm } from "../test/run-lfm.js";

const folder = mkdtempSync(join(tmpdir(), "lfm-input-tuning-"));
const at = (name: string): string => join(folder, name);
afterAll(() => rmSync(folder, { recursive: true }));

beforeAll(() => {
  const rows = ["kind", "gentle", "cruel", "greedy"].flatMap((word, i) => [
    { prompt: `say ${word} and ${word} :`, completion: i < 2 ? "<l0>" : "<l1>" },
    { prompt: `say ${word} :`, completion: i < 2 ? "<l0>" : "<l1>" },
  ]);
  writeFileSync(at("rows.jsonl"), rows.map((r) => JSON.stringify(r)).join("\n"));
});

const model = ["--model", "zoo-lm", "--data"];
interface Figures {
  readonly loss: number;
  readonly choiceAccuracy: number;
}
const figures = async (...delta: string[]): Promise<Figures> =>
  (await lfmJson("eval", ...model, at("rows.jsonl"), ...delta)).metrics as unknown as Figures;

let base: Figures;
beforeAll(async () => {
  base = await figures();
});

describe("what stands before the input, learned by the command line and asked with --delta", () => {
  it.each([
    ["prefix", ["--num-virtual-tokens", "2", "--init", "zero", "--steps", "4", "--lr", "0.05"]],
    ["p-tuning", ["--num-virtual-tokens", "2", "--encoder-hidden-size", "4", "--preset", "lstm", "--steps", "2"]],
    ["prompt", ["--num-virtual-tokens", "3", "--init", "labels", "--steps", "2"]],
    ["autoprompt", ["--num-trigger-tokens", "1", "--iterations", "1", "--candidates", "1", "--accumulate", "1"]],
    ["black-box", ["--num-virtual-tokens", "1", "--dimensions", "3", "--popsize", "2", "--budget", "2"]],
    ["in-context", ["--shots", "2", "--separator", " . ", "--content-free", ""]],
  ] as const)("%s", async (id, options) => {
    await lfmJson("tune", id, ...model, at("rows.jsonl"), ...options, "--out", at(id));
    const own = await figures("--delta", at(id));
    expect(own.loss).not.toBe(base.loss);
    expect(own.choiceAccuracy).toBeGreaterThanOrEqual(0);
  });

  it("several ways to an answer, and their vote", async () => {
    const asked = ["--prompt", "say kind :", "--max-new-tokens", "2", "--delta", at("prefix")];
    const { answers } = await lfmJson("generate", "--model", "zoo-lm", ...asked);
    expect((answers as { tokens: number }[])[0]!.tokens).toBeGreaterThan(0);
    const ways = ["--temperature", "1", "--max-new-tokens", "1", "--delta", at("prefix")];
    const { predictions } = await lfmJson("predict", ...model, at("rows.jsonl"), "--votes", "3", ...ways);
    for (const { agreement, votes } of predictions as { agreement: number; votes: { votes: number }[] }[])
      expect(agreement).toBeCloseTo((votes[0]?.votes ?? 0) / 3, 10);
    const { code, err } = await runLfm("predict", ...model, at("rows.jsonl"), "--votes", "3", "--max-new-tokens", "1");
    expect([code === 0, err]).toEqual([false, expect.stringContaining("without sampling all ways are one")]);
  });

  it("a black box whose owner allows no more is asked no more", async () => {
    const budget = ["--queries", "7", "--out", at("none")];
    const { code, err } = await runLfm("tune", "black-box", ...model, at("rows.jsonl"), ...budget);
    expect([code === 0, err]).toEqual([false, expect.stringContaining("one prompt takes 8 queries, and 7 are left")]);
  });
});
