import { existsSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { contentOf, simulate } from "@lfm/core/testing";
import { loadZoo } from "@lfm/models/zoo";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { runLfm } from "../../test/run-lfm.js";

const folder = mkdtempSync(join(existsSync("/dev/shm") ? "/dev/shm" : tmpdir(), "lfm-crashes-"));
afterAll(() => rmSync(folder, { recursive: true }));
const at = (...names: string[]): string => join(folder, ...names);
let fact = ["", ""];

beforeAll(async () => {
  const { world } = await loadZoo();
  fact = [world.facts[0]!.relation, world.facts[0]!.subject];
  writeFileSync(at("data.jsonl"), Array.from({ length: 4 }, () => JSON.stringify({ prompt: "say :", completion: "<l0>" })).join("\n"));
  writeFileSync(at("texts.jsonl"), ["a", "b", "c"].map((id) => JSON.stringify({ id, text: `text of ${id}` })).join("\n"));
});

const zoo = ["--model", "zoo-lm"];
const data = (): string[] => ["--data", at("data.jsonl"), "--batch-size", "2", "--threads", "1"];
const writers: readonly (readonly [name: string, argv: () => readonly string[]])[] = [
  ["tune", () => ["tune", "lora", ...zoo, ...data(), "--r", "2", "--steps", "2"]],
  ["distill", () => ["distill", "logit-kd", "--teacher", "zoo-lm", "--student", "zoo-lm", ...data(), "--steps", "1"]],
  ["meta", () => ["meta", "maml", "--family", "sinusoid", "--tasks", "2", "--steps", "2", "--threads", "1"]],
  ["edit", () => ["edit", "ft-l", ...zoo, "--prompt", `${fact[0]} {}`, "--subject", fact[1]!, "--target", "<l0>", "--steps", "2"]],
  ["retrieve", () => ["retrieve", "bm25", "--documents", at("texts.jsonl"), "--queries", at("texts.jsonl")]],
  ["index", () => ["index", at("texts.jsonl")]],
  ["stats", () => ["stats", "gram", "zoo-lm", ...data()]],
];

/** Times and places are in reports, and differ. */
const lasting = (found: Readonly<Record<string, string>>): Readonly<Record<string, string>> =>
  Object.fromEntries(Object.entries(found).filter(([name]) => !name.endsWith("report.json")));

/** Writers that take no model: each of their operations is crashed. All write through one module; of the others, which take seconds a run, a few. */
const thorough = new Set(["retrieve", "index"]);
const FEW = 3;

/** So many at most, spread evenly, the first and the last among them. */
function chosen<T>(all: readonly T[], most: number): readonly T[] {
  if (all.length <= most) return all;
  return Array.from({ length: most }, (_, i) => all[Math.round((i * (all.length - 1)) / (most - 1))]!);
}

describe.each(writers)("lfm %s", (name, argv) => {
  it.each([false, true])("may end at any operation on files, replacing a result: %s", async (replaces) => {
    const sandbox = at(`${name}-${replaces}`);
    const out = join(sandbox, "out");
    const run = (): Promise<{ code: number; err: string }> =>
      runLfm(...argv(), "--out", out, ...(replaces ? ["--overwrite"] : []), "--quiet");
    const prepare = async (): Promise<void> => {
      rmSync(sandbox, { recursive: true, force: true });
      if (replaces) expect((await run()).err).toBe("");
    };
    await prepare();
    const { operations, crashes, value } = await simulate(out, undefined, run);
    expect(value).toMatchObject({ code: 0 });
    const whole = lasting(contentOf(sandbox));
    for (const crash of chosen(crashes, thorough.has(name) ? Number.POSITIVE_INFINITY : FEW)) {
      await prepare();
      const told = `${operations[crash.at - 1]} ${crash.half ? "(half)" : ""}`;
      expect((await simulate(out, crash, run)).crashed, told).toBe(true);
      if (existsSync(out)) expect(lasting(contentOf(sandbox)), told).toMatchObject(whole);
      const { code, err } = await run();
      expect(code === 0 || err.includes("is there already"), `${told}: ${err}`).toBe(true);
      expect(lasting(contentOf(sandbox)), told).toEqual(whole);
      expect(readdirSync(sandbox), told).toEqual(["out"]);
    }
  });
});
