import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { lfmJson, runLfm } from "../test/run-lfm.js";

const folder = mkdtempSync(join(tmpdir(), "lfm-base-"));
const at = (name: string): string => join(folder, name);
afterAll(() => rmSync(folder, { recursive: true }));
writeFileSync(
  at("train.jsonl"),
  Array.from({ length: 8 }, (_, i) =>
    JSON.stringify({ prompt: `say ${i % 2 === 0 ? "kind" : "cruel"} :`, completion: i % 2 === 0 ? "<l0>" : "<l1>" }),
  ).join("\n"),
);
const model = ["--model", "zoo-lm"];

describe("--base", () => {
  it("learns an adapter beside frozen weights in 8 bits, and continues with it from 4", async () => {
    const train = [...model, "--data", at("train.jsonl"), "--steps", "5", "--lr", "0.02", "--r", "2"];
    const { loss, base } = await lfmJson("tune", "lora", ...train, "--base", "int8", "--out", at("lora"));
    const { first, last } = loss as Record<"first" | "last", number>;
    expect(base).toBe("int8");
    expect(last).toBeLessThan(first - 0.5);
    const say = ["generate", ...model, "--delta", at("lora"), "--prompt", "say kind :", "--max-new-tokens", "1"];
    expect((await lfmJson(...say, "--base", "int4")).answers).toHaveLength(1);
  });

  it("refuses what learns the weights themselves", async () => {
    const { code, err } = await runLfm("tune", "full", ...model, "--data", at("train.jsonl"), "--base", "int8", "--out", at("full"));
    expect(code).toBeGreaterThan(0);
    expect(err).toContain("cannot learn: this base holds it in fewer bits");
  });
});
