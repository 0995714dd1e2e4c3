import { spawn } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { PARTS, readSafetensors } from "@lfm/formats";
import { afterAll, beforeAll, expect, it } from "vitest";
import { writeWordsModel } from "../test/words-model.js";

const scratch = mkdtempSync(join(tmpdir(), "lfm-killed-edits-"));
afterAll(() => rmSync(scratch, { recursive: true }));
const at = (...names: string[]): string => join(scratch, ...names);
const launcher = new URL("../bin/lfm.js", import.meta.url).pathname;

const FACTS = 60;
const [subjects, targets] = [
  ["Ada", "Bo", "Cy", "cat", "dog"],
  ["Paris", "Rome", "Oslo", "red", "blue", "green", "fine"],
];
const prompts = ["the home of {} is", "a {} is red in", "the {} sat on"];

beforeAll(() => {
  writeWordsModel(at("words"));
  const rows = Array.from({ length: FACTS }, (_, i) => ({
    prompt: prompts[i % prompts.length],
    subject: subjects[i % subjects.length],
    target: targets[(i + Math.floor(i / targets.length)) % targets.length],
  }));
  writeFileSync(at("facts.jsonl"), rows.map((row) => `${JSON.stringify(row)}\n`).join(""));
});

/** Runs the command in a process of its own; it is killed when so many more facts than before are saved. @returns its exit code or signal */
async function edit(method: string, options: readonly string[], out: string, killAfter?: number): Promise<number | string | null> {
  const args = [
    "edit",
    method,
    "--model",
    at("words"),
    "--requests",
    at("facts.jsonl"),
    "--batch",
    "1",
    "--known",
    "write",
    "--threads",
    "1",
  ];
  const child = spawn(process.execPath, [launcher, ...args, ...options, "--out", out], { stdio: ["ignore", "ignore", "pipe"] });
  let said = "";
  child.stderr.on("data", (chunk: Buffer) => {
    said += chunk.toString();
  });
  const ended = new Promise<number | string | null>((resolve) => child.once("exit", (code, signal) => resolve(code ?? signal)));
  const start = savedFacts(method, out);
  while (killAfter !== undefined && child.exitCode === null && savedFacts(method, out) < start + killAfter)
    await new Promise((resolve) => setTimeout(resolve, 2));
  if (killAfter !== undefined) child.kill("SIGKILL");
  const end = await ended;
  if (end !== 0 && end !== "SIGKILL") throw new Error(said);
  return end;
}

/** Facts that stand in what a run has saved of itself. */
function savedFacts(method: string, out: string): number {
  const file = join(`${out}.partial`, PARTS.checkpoint, `editing-${method}.safetensors`);
  return existsSync(file) ? Number(readSafetensors(file).metadata.step) : 0;
}

it.each([
  ["ft-l", ["--layer", "1", "--steps", "200", "--lr", "0.01", "--stop-loss", "0"]],
  ["grace", ["--layer", "1", "--steps", "200", "--stop-loss", "0"]],
])("a sequence of edits that is killed again and again ends with the bytes of one that was not: %s", async (method, options) => {
  const [whole, killed] = [at(`${method}-whole`), at(`${method}-killed`)];
  expect(await edit(method, options, whole)).toBe(0);
  const steps: number[] = [];
  for (const more of [1, 4, 9, 5]) {
    expect(await edit(method, options, killed, more)).toBe("SIGKILL");
    expect(existsSync(killed)).toBe(false);
    steps.push(savedFacts(method, killed));
  }
  // Every run went on from where the one before was killed, and none was at the end.
  expect(steps).toEqual(steps.toSorted((a, b) => a - b));
  expect(steps[0]).toBeGreaterThan(0);
  expect(steps.at(-1)).toBeLessThan(FACTS);
  expect(await edit(method, options, killed)).toBe(0);
  const bytes = (folder: string): Buffer => readFileSync(join(folder, "delta.safetensors"));
  expect(bytes(killed).equals(bytes(whole))).toBe(true);
});
