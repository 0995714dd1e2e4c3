import { copyFileSync, mkdtempSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import { lfmJson, runLfm } from "../../test/run-lfm.js";

const folder = mkdtempSync(join(tmpdir(), "lfm-adapters-"));
const at = (name: string): string => join(folder, name);
afterAll(() => rmSync(folder, { recursive: true }));

const rows = ["say kind and wise :", "say cruel and vain :", "say gentle and calm :", "say bitter and rude :"].map((prompt, i) =>
  JSON.stringify({ prompt, completion: i % 2 === 0 ? "<l0>" : "<l1>" }),
);
const data = ["--model", "zoo-lm", "--data", at("train.jsonl")];
const tune = (method: string, out: string, ...more: string[]): Promise<unknown> =>
  lfmJson("tune", method, ...data, "--steps", "3", "--lr", "0.02", ...more, "--out", at(out));
const loss = async (...deltas: string[]): Promise<number> =>
  ((await lfmJson("eval", ...data, ...deltas.flatMap((d) => ["--delta", at(d)]))).metrics as { loss: number }).loss;

beforeAll(async () => {
  writeFileSync(at("train.jsonl"), rows.join("\n"));
  await tune("bottleneck", "a", "--preset", "pfeiffer", "--reduction-factor", "8");
  await tune("bottleneck", "b", "--preset", "pfeiffer", "--seed", "1");
});

it("an adapter leaves as the library adapters loads it, and comes back the same", async () => {
  const text = (await runLfm("export", `zoo-lm+${at("a")}`, "--adapters", at("out-a"))).out;
  expect(text).toContain("model.load_adapter");
  expect(readdirSync(at("out-a")).sort()).toEqual(["adapter.safetensors", "adapter_config.json"]);
  expect(JSON.parse(readFileSync(at("out-a/adapter_config.json"), "utf8"))).toMatchObject({
    name: "out-a",
    config: { original_ln_before: true, non_linearity: "relu", reduction_factor: 8, scaling: 1 },
  });
  // Its reader tells a constant from a learned scale by the point.
  expect(readFileSync(at("out-a/adapter_config.json"), "utf8")).toContain('"scaling": 1.0');
  expect(await loss("out-a")).toBe(await loss("a"));
  expect(await loss("a")).toBeLessThan((await loss()) - 0.01);
});

it("adapters are fused, and the fusion goes there and back too", async () => {
  await tune("adapter-fusion", "fused", "--adapter", at("a"), "--adapter", at("b"));
  await lfmJson("export", `zoo-lm+${at("fused")}`, "--adapters", at("out-fused"));
  expect(readdirSync(at("out-fused")).sort()).toEqual(["adapter_setup.json", "out-fused1", "out-fused1,out-fused2", "out-fused2"]);
  const fused = await loss("fused");
  expect(await loss("out-fused")).toBeCloseTo(fused, 6);
  expect(fused).not.toBe(await loss("a"));
});

it("a pickle is refused with the line that converts it; a fusion alone with what is missing", async () => {
  renameSync(at("out-a/adapter.safetensors"), at("kept"));
  copyFileSync(at("kept"), at("out-a/pytorch_adapter.bin"));
  const pickle = await runLfm("eval", ...data, "--delta", at("out-a"));
  expect(pickle.code).not.toBe(0);
  expect(pickle.err).toMatch(/pickles can run code[\s\S]*python -c .*weights_only=True.*adapter\.safetensors/);
  expect((await runLfm("eval", ...data, "--delta", at("out-fused/out-fused1,out-fused2"))).err).toContain("save_adapter_setup");
  expect((await runLfm("tune", "adapter-fusion", ...data, "--adapter", at("a"), "--out", at("no"))).err).toMatch(/two adapters or more/);
});
