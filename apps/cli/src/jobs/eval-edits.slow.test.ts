import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Metric } from "@lfm/core";
import { counterfacts } from "@lfm/data";
import { initWeights, llama, saveModel } from "@lfm/models";
import { loadZoo } from "@lfm/models/zoo";
import { afterAll, beforeAll, expect, it } from "vitest";
import { lfmJson, runLfm } from "../../test/run-lfm.js";
import { saveZooTokenizer } from "../inputs/zoo-folder.js";

const folder = mkdtempSync(join(tmpdir(), "lfm-eval-edits-"));
afterAll(() => rmSync(folder, { recursive: true }));
const at = (name: string): string => join(folder, name);
const model = (): readonly string[] => ["--model", at("llama")];

beforeAll(async () => {
  const zoo = await loadZoo();
  const size = { hidden_size: 16, num_hidden_layers: 1, num_attention_heads: 2, intermediate_size: 32, max_position_embeddings: 64 };
  const made = llama({ ...size, vocab_size: zoo.world.vocabulary.size });
  await saveModel(at("llama"), { ...made, params: initWeights(made.info, { seed: 2 }) });
  saveZooTokenizer(at("llama"), zoo);
  const records = counterfacts(zoo.world, { count: 2 });
  const foreign = { ...records[0]!, requested_rewrite: { ...records[0]!.requested_rewrite, target_new: { str: "Xyzzy", id: "Q1" } } };
  writeFileSync(at("edits.json"), JSON.stringify([...records, foreign]));
  writeFileSync(
    at("text.txt"),
    `${zoo.world.facts
      .slice(0, 20)
      .map((f) => `${f.subject} lives in ${f.value} .`)
      .join(" ")}\n`,
  );
});

it("makes every edit on the untouched model, asks what the file asks, and leaves a report", async () => {
  const learn = ["--steps", "40", "--lr", "0.3", "--epsilon", "9", "--write-tokens", "4"];
  const files = ["--requests", at("edits.json"), "--text", at("text.txt"), "--text-tokens", "64"];
  const found = await lfmJson("eval-edits", "ft-l", ...model(), ...files, ...learn, "--out", at("report"));
  const metrics = found.metrics as Readonly<Record<string, Metric>>;
  expect([found.edits, (found.refused as unknown[]).length]).toEqual([2, 1]);
  // A net without knowledge is told anything, and what it is told it says everywhere.
  expect(metrics["efficacy.generated"]!.base).toBe(0);
  expect(metrics["efficacy.generated"]!.value).toBeGreaterThanOrEqual(50);
  expect(metrics["efficacy.success"]!.value).toBe(100);
  expect(metrics["same-subject.unchanged"]!.value).toBeLessThan(100);
  expect(metrics["same-value.success"]!.value).not.toBeNull();
  expect(metrics).not.toHaveProperty("alias.exact");
  expect(metrics.knownFacts!.value).toBe(0);
  expect(metrics.perplexity!.base).toBeGreaterThan(100);
  expect(metrics.perplexity!.value).not.toBe(metrics.perplexity!.base);
  const html = readFileSync(at("report/report.html"), "utf8");
  expect(html).toContain('<table class="heat"');
  expect(existsSync(at("report/report.csv"))).toBe(true);
});

it("says what it cannot do", async () => {
  const run = (...more: string[]) => runLfm("eval-edits", "ft-l", ...model(), ...more, "--out", at("none"));
  expect(await run("--requests", at("edits.json"), "--only-known")).toMatchObject({
    code: 2,
    err: expect.stringContaining("--only-known"),
  });
  expect(await run("--prompt", "{} lives in", "--subject", "a", "--target", "b")).toMatchObject({
    code: 2,
    err: expect.stringContaining("--requests edits.jsonl"),
  });
});
