import { copyFileSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { lfmJson, runLfm } from "../test/run-lfm.js";

const folder = mkdtempSync(join(tmpdir(), "lfm-tune-"));
const at = (name: string): string => join(folder, name);
afterAll(() => rmSync(folder, { recursive: true }));

beforeAll(() => {
  const words =
    "kind gentle brave wise honest merry calm loyal noble bright cruel greedy bitter vain rude lazy false grim harsh sullen".split(" ");
  const rows = Array.from({ length: 60 }, (_, i) => {
    const [first, good] = [i % 2 === 0 ? 0 : 10, i % 2 === 0];
    return JSON.stringify({
      prompt: `say ${words[first + (i % 10)]} and ${words[first + ((i + 3) % 10)]} :`,
      completion: good ? "<l0>" : "<l1>",
    });
  });
  writeFileSync(at("train.jsonl"), rows.slice(0, 40).join("\n"));
  writeFileSync(at("valid.jsonl"), rows.slice(40).join("\n"));
});

interface Report {
  readonly curves: Readonly<Record<string, readonly (readonly [number, number])[]>>;
}
const reportOf = (name: string): Report => JSON.parse(readFileSync(join(at(name), "report.json"), "utf8")) as Report;
const common = ["--model", "zoo-lm", "--data"];

describe("lfm tune", () => {
  it("ia3 from its one file: learned, saved, asked with the delta, as PEFT's files and multiplied out", async () => {
    const train = ["--steps", "20", "--lr", "0.05", "--valid", at("valid.jsonl"), "--out", at("ia3")];
    const { valid } = await lfmJson("tune", "ia3", ...common, at("train.jsonl"), ...train);
    const loss = async (...given: string[]): Promise<number> =>
      ((await lfmJson("eval", "--data", at("valid.jsonl"), ...given)).metrics as { loss: number }).loss;
    const tuned = await loss("--model", "zoo-lm", "--delta", at("ia3"));
    const base = await loss("--model", "zoo-lm");
    expect(tuned).toBeLessThan(base - 0.1);
    // Without --valid-every the examples are only looked at, before and after.
    expect(reportOf("ia3").curves["valid.loss"]).toBeUndefined();
    const { before, after } = valid as Record<"before" | "after", { readonly loss: number }>;
    // An f32 near 29 has five digits after the point: told by their ratio.
    expect(before.loss / base).toBeCloseTo(1, 6);
    expect(after.loss).toBeCloseTo(tuned, 6);
    mkdirSync(at("peft"));
    for (const file of ["adapter_config.json", "adapter_model.safetensors"]) copyFileSync(join(at("ia3"), file), join(at("peft"), file));
    expect(await loss("--model", "zoo-lm", "--delta", at("peft"))).toBeCloseTo(tuned, 6);
    await lfmJson("merge", "passthrough", "--model", `zoo-lm+${at("ia3")}`, at("plain"));
    expect(await loss("--model", at("plain"))).toBeCloseTo(tuned, 4);
  });

  it("measures validation examples on the way, keeps the best state and goes on from a delta", async () => {
    const valid = ["--valid", at("valid.jsonl"), "--valid-every", "5"];
    const lora = ["tune", "lora", ...common, at("train.jsonl"), "--r", "2", "--lr", "0.01"];
    await lfmJson(...lora, ...valid, "--steps", "20", "--tensorboard", "--out", at("first"));
    const measured = reportOf("first").curves["valid.loss"]!;
    expect(measured.map(([step]) => step)).toEqual([4, 9, 14, 19]);
    const [events] = readdirSync(at("first")).filter((name) => name.startsWith("events.out.tfevents."));
    // 20 losses, 4 measurements, and the file's version.
    expect(
      readFileSync(join(at("first"), events!))
        .toString("latin1")
        .split("loss"),
    ).toHaveLength(25);
    const before = (
      (await lfmJson("eval", "--model", "zoo-lm", "--data", at("valid.jsonl"), "--delta", at("first"))).metrics as { loss: number }
    ).loss;
    expect(before).toBeCloseTo(Math.min(...measured.map(([, v]) => v)), 4);
    await lfmJson(...lora, "--steps", "5", "--from", at("first"), "--out", at("second"));
    const [, started] = reportOf("second").curves.loss![0]!;
    expect(started).toBeLessThan(reportOf("first").curves.loss![0]![1] / 2);
  });

  it("refuses what cannot be: validation without examples, a delta of another rank", async () => {
    const lora = ["tune", "lora", ...common, at("train.jsonl"), "--steps", "2", "--out", at("no")];
    const complained = async (...more: string[]): Promise<string> => {
      const { code, err } = await runLfm(...lora, ...more);
      expect(code).not.toBe(0);
      return err;
    };
    expect(await complained("--valid-every", "2")).toMatch(/validation examples, and none are given/);
    expect(await complained("--r", "3", "--from", at("first"))).toMatch(/cannot go on from this delta/);
  });
});
