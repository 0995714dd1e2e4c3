import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import { lfmJson } from "../test/run-lfm.js";
import { zooPairs } from "../test/zoo-pairs.js";

const folder = mkdtempSync(join(tmpdir(), "lfm-preferences-"));
const at = (name: string): string => join(folder, name);
const jsonl = (name: string, rows: readonly object[]): void => writeFileSync(at(name), rows.map((r) => JSON.stringify(r)).join("\n"));
afterAll(() => rmSync(folder, { recursive: true }));

beforeAll(() => {
  const pairs = zooPairs(60, 1);
  jsonl("pairs.jsonl", pairs);
  // Twice as many desirable completions as undesirable ones.
  jsonl(
    "judged.jsonl",
    pairs.map(({ prompt, chosen, rejected }, i) => ({ prompt, completion: i % 3 === 0 ? rejected : chosen, label: i % 3 !== 0 })),
  );
  jsonl("held-out.jsonl", zooPairs(40, 2));
});

interface Measures {
  readonly margin: number;
  readonly accuracy: number;
}

// ORPO learns whole rows beside: it takes longer until prompts, which are random here, are out of its way.
const likelihood = ["--beta", "1", "--lr", "0.003", "--clip-norm", "1", "--steps", "60"];
const settings: readonly (readonly [objective: string, method: string, options: readonly string[]])[] = [
  ["dpo", "lora", ["--lr", "0.005", "--steps", "20"]],
  ["dpo", "prompt", ["--lr", "0.05", "--steps", "20"]],
  ["kto", "lora", ["--lr", "0.005", "--steps", "20"]],
  ["orpo", "lora", likelihood],
  ["reward", "lora", ["--lr", "0.005", "--steps", "20"]],
];
const cases = settings.flatMap(([objective, method, options]) => [1, 2, 3].map((seed) => [objective, method, seed, options] as const));

it.each(cases)("%s over %s raises the reward margin of held-out pairs, seed %i", async (objective, method, seed, options) => {
  const out = at(`${objective}-${method}-${seed}`);
  const data = ["--data", at(objective === "kto" ? "judged.jsonl" : "pairs.jsonl"), "--objective", objective, "--batch-size", "12"];
  await lfmJson("tune", method, "--model", "zoo-lm", ...data, ...options, "--seed", String(seed), "--out", out);
  const { metrics } = await lfmJson("eval", "--model", "zoo-lm", "--data", at("held-out.jsonl"), "--delta", out);
  const { margin, accuracy } = metrics as Measures;
  expect(margin).toBeGreaterThan(0.5);
  expect(accuracy).toBeGreaterThan(0.6);
});
