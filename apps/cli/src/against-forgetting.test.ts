import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { statement } from "@lfm/data";
import { loadZoo } from "@lfm/models/zoo";
import { afterAll, beforeAll, expect, it } from "vitest";
import { lfmJson, runLfm } from "../test/run-lfm.js";

const folder = mkdtempSync(join(tmpdir(), "lfm-against-"));
const at = (name: string): string => join(folder, name);
afterAll(() => rmSync(folder, { recursive: true }));

const rowsOf = (words: string, label: string): string =>
  words
    .split(" ")
    .map((word) => JSON.stringify({ prompt: `say ${word} :`, completion: label }))
    .join("\n");
const tune = [
  "tune",
  "lora",
  "--model",
  "zoo-lm",
  "--data",
  at("new.jsonl"),
  "--steps",
  "3",
  "--lr",
  "0.01",
  "--r",
  "2",
  "--target-modules",
  "q",
];
interface Report {
  readonly curves: Readonly<Record<string, readonly (readonly [number, number])[]>>;
  readonly monitors?: readonly { readonly id: string; readonly warning: boolean; readonly message: string }[];
}

beforeAll(async () => {
  writeFileSync(at("new.jsonl"), rowsOf("kind gentle brave wise", "<l0>"));
  writeFileSync(at("old.jsonl"), rowsOf("cruel greedy bitter vain", "<l1>"));
  const { world } = await loadZoo();
  const known = world.facts.slice(0, 8).map((fact) => JSON.stringify({ text: statement(world, fact, 0) }));
  writeFileSync(at("held.jsonl"), known.join("\n"));
});

it("replay, lwf and l2-sp stand beside a method, and what they hold is in the report", async () => {
  await lfmJson(...tune, "--against", "replay,lwf,l2-sp", "--replay", at("old.jsonl"), "--out", at("kept"));
  const { curves } = JSON.parse(readFileSync(at("kept/report.json"), "utf8")) as Report;
  expect(Object.keys(curves)).toEqual(expect.arrayContaining(["loss", "taskLoss", "replay", "lwf", "l2-sp"]));
});

it("ewc reads what lfm stats fisher took of the model", async () => {
  await lfmJson(
    "stats",
    "fisher",
    "zoo-lm",
    "--data",
    at("old.jsonl"),
    "--samples",
    "4",
    "--estimator",
    "empirical",
    "--out",
    at("fisher"),
  );
  await lfmJson(...tune, "--against", "ewc", "--ewc-lambda", "10", "--fisher", at("fisher"), "--out", at("ewc"));
  const { curves } = JSON.parse(readFileSync(at("ewc/report.json"), "utf8")) as Report;
  expect(curves.ewc![0]![1]).toBe(0);
  expect(curves.ewc![2]![1]).toBeGreaterThan(0);
  expect((await runLfm(...tune, "--against", "ewc", "--out", at("no"))).err).toContain("--fisher");
  expect((await runLfm(...tune, "--replay", at("old.jsonl"), "--out", at("no"))).err).toContain("--against replay");
});

it("a run that forgets says so in its log, its result and its report", async () => {
  const destroys = ["tune", "full", "--model", "zoo-lm", "--data", at("new.jsonl"), "--steps", "3", "--lr", "0.01"];
  const { code, out, err } = await runLfm(
    ...destroys,
    "--retained",
    at("held.jsonl"),
    "--monitor-every",
    "1",
    "--json",
    "--out",
    at("lost"),
  );
  expect(code).toBe(0);
  expect(err).toMatch(/⚠ step \d: what the model knew/);
  const expected = [{ id: "catastrophic-forgetting", warning: true }];
  expect((JSON.parse(out) as Report).monitors).toMatchObject(expected);
  const report = JSON.parse(readFileSync(at("lost/report.json"), "utf8")) as Report;
  expect(report.monitors).toMatchObject(expected);
  expect(report.curves["kept.loss"]).toHaveLength(3);
});
