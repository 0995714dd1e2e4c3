import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Rng } from "@lfm/core";
import { bert, initWeights, saveModel } from "@lfm/models";
import { loadZoo } from "@lfm/models/zoo";
import { afterAll, beforeAll, expect, it } from "vitest";
import { lfmJson, runLfm } from "../test/run-lfm.js";
import { saveZooTokenizer } from "./inputs/zoo-folder.js";

const folder = mkdtempSync(join(tmpdir(), "lfm-probe-"));
afterAll(() => rmSync(folder, { recursive: true }));
const at = (name: string): string => join(folder, name);

/** Texts of three words with labels that nothing but the text itself tells, and a delta that has hardly begun to learn them. */
beforeAll(async () => {
  const zoo = await loadZoo();
  const { words } = zoo.world.vocabulary;
  const rng = new Rng(4);
  const row = (): string =>
    JSON.stringify({ text: [0, 1, 2].map(() => words[20 + rng.int(60)]).join(" "), label: rng.uniform() < 0.5 ? "yes" : "no" });
  const rows = Array.from({ length: 48 }, row);
  writeFileSync(at("members.jsonl"), rows.slice(0, 24).join("\n"));
  writeFileSync(at("others.jsonl"), rows.slice(24).join("\n"));
  writeFileSync(at("half.jsonl"), rows.filter((_, i) => i % 2 === 0).join("\n"));
  writeFileSync(at("rest.jsonl"), rows.filter((_, i) => i % 2 === 1).join("\n"));
  const encoder = bert({
    ...{ hidden_size: 8, num_hidden_layers: 1, num_attention_heads: 2, intermediate_size: 12, max_position_embeddings: 16 },
    vocab_size: words.length,
  });
  await saveModel(at("base"), { ...encoder, params: initWeights(encoder.info, { seed: 1 }) });
  saveZooTokenizer(at("base"), zoo);
  await lfmJson(
    "tune",
    "full",
    "--model",
    at("base"),
    "--data",
    at("members.jsonl"),
    "--steps",
    "2",
    "--lr",
    "0.01",
    "--out",
    at("members"),
  );
});

const victim = (): string[] => ["--model", at("base"), "--delta", at("members")];
const sides = (): string[] => ["--data", at("members.jsonl"), "--non-members", at("others.jsonl")];

it("lfm probe attacks a model with its delta, in numbers and in words", async () => {
  const found = await lfmJson("probe", "loss", ...victim(), ...sides(), "--out", at("found"));
  const { auc } = found.risks as Record<string, { value: number; low: number; high: number }>;
  expect(auc!.low).toBeLessThan(auc!.value);
  expect(auc!.high).toBeGreaterThan(auc!.value);
  expect(found).toMatchObject({ queries: 48, measured: { members: 24, nonMembers: 24 } });
  const report = JSON.parse(readFileSync(join(at("found"), "report.json"), "utf8")) as Record<string, unknown>;
  expect(report).toMatchObject({ method: "probe/loss", risks: found.risks });
  const { out, err } = await runLfm("probe", "label-only", "--preset", "gap", ...victim(), ...sides(), "--out", at("gap"));
  expect(out).toMatch(/^auc 0\.\d+ \[/m);
  expect(out).toContain("48 queries of the model");
  // The head was learned with the delta.
  expect(err).toContain("there is no before");
});

it("ends with code 1 where more members may be found than is allowed, by the upper limit, and leaves its report", async () => {
  const gate = async (...more: string[]) => runLfm("probe", "loss", ...victim(), ...sides(), "--overwrite", "--out", at("gate"), ...more);
  const strict = await gate("--max-tpr", "0.05", "--at-fpr", "0.25");
  expect(strict.code).toBe(1);
  expect(strict.out).toContain("FAILED: members found at 25 % false positives");
  expect(existsSync(join(at("gate"), "report.json"))).toBe(true);
  expect((await gate("--max-tpr", "1", "--at-fpr", "0.25")).code).toBe(0);
  // 24 others cannot show what happens at 1 %: that is no pass.
  const { code, out } = await gate("--max-tpr", "1");
  expect([code, out]).toEqual([1, expect.stringContaining("24 non-members cannot show it: 300 can")]);
  expect((await gate("--max-tpr", "5")).code).toBe(2);
});

it("takes shadow models with what they were trained on", async () => {
  const shadows = ["half", "rest"].flatMap((name) => [
    "--reference",
    `${at("base")}+${at("members")}`,
    "--reference-data",
    at(`${name}.jsonl`),
  ]);
  const auc = async (...given: string[]): Promise<number> =>
    ((await lfmJson("probe", ...given, ...victim(), ...sides(), "--overwrite", "--out", at("shadows"))).risks as { auc: { value: number } })
      .auc.value;
  // Shadows that are the victim itself tell nothing; each example has been seen by the one or the other.
  expect(await auc("rmia", ...shadows)).toBe(0.5);
  expect(await auc("lira", "--preset", "online", ...shadows, ...shadows)).toBe(0.5);
  const half = shadows.slice(0, 4);
  expect((await runLfm("probe", "rmia", ...victim(), ...sides(), ...half, "--out", at("x"))).err).toContain(
    "every reference model learned from",
  );
  expect((await runLfm("probe", "rmia", ...victim(), ...sides(), ...shadows.slice(0, -2), "--out", at("x"))).code).toBe(2);
});

it("attacks texts, as words and as vectors", async () => {
  const texts = ["--data", at("members.jsonl"), "--overwrite", "--out", at("texts")];
  const words = await lfmJson("probe", "text-fooler", ...victim(), ...texts, "--min-cosine", "-1", "--neighbours", "3");
  expect(words).toMatchObject({ method: "probe/text-fooler", measured: { examples: 24 } });
  expect((words.queries as number) <= 24 * 500).toBe(true);
  const flips = await lfmJson("probe", "hotflip", ...victim(), ...texts, "--flips", "1", "--min-cosine", "-1", "--beam", "2");
  expect((flips.risks as { success: { of: number } }).success.of).toBeLessThanOrEqual(24);
});

it("says that an encoder without a head answers nothing", async () => {
  const { code, err } = await runLfm("probe", "loss", "--model", at("base"), ...sides(), "--out", at("none"));
  expect([code, err]).toEqual([2, expect.stringContaining("encoder without a head")]);
});
