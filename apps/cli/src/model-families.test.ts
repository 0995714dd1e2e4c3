import { copyFileSync, mkdirSync, mkdtempSync, readFileSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { loadWeight, ortEngine } from "@lfm/core";
import { readSafetensors } from "@lfm/formats";
import { createPredictor, loadModel } from "@lfm/models";
import { expect, it } from "vitest";
import { lfmJson, runLfm } from "../test/run-lfm.js";

const scratch = mkdtempSync(join(tmpdir(), "lfm-families-"));
const golden = (name: string): string => join(import.meta.dirname, "../../../packages/models/test/golden", name);
const vocabulary = Array.from({ length: 97 }, (_, i) => `w${i}`);
const words = (ids: Iterable<number>): string => Array.from(ids, (id) => vocabulary[id]!).join(" ");

/** A fixture as a folder that has words: token i is "wi". No end token: the fixtures' continuations have none. */
function folderOf(fixture: string, name: string, options: Record<string, unknown> = {}): string {
  const folder = join(scratch, name);
  mkdirSync(folder);
  copyFileSync(join(golden(fixture), "model.safetensors"), join(folder, "model.safetensors"));
  const config = JSON.parse(readFileSync(join(golden(fixture), "config.json"), "utf8")) as Record<string, unknown>;
  writeFileSync(join(folder, "config.json"), JSON.stringify({ ...config, bos_token_id: null, eos_token_id: null, ...options }));
  const tokenizer = {
    version: "1.0",
    truncation: null,
    padding: null,
    added_tokens: [],
    normalizer: null,
    pre_tokenizer: { type: "WhitespaceSplit" },
    post_processor: null,
    decoder: null,
    model: { type: "WordLevel", vocab: Object.fromEntries(vocabulary.map((w, i) => [w, i])), unk_token: "w0" },
  };
  writeFileSync(join(folder, "tokenizer.json"), JSON.stringify(tokenizer));
  writeFileSync(join(folder, "tokenizer_config.json"), JSON.stringify({ tokenizer_class: "PreTrainedTokenizerFast" }));
  return folder;
}

it.each(["mistral", "mixtral", "qwen3", "phi3", "gpt-neox", "gemma2", "gemma3"])(
  "lfm generate goes on as transformers: %s",
  async (name) => {
    const { tensors } = readSafetensors(join(golden(name), "golden.safetensors"));
    const ids = (role: string): number[] => Array.from(loadWeight(tensors[`greedy/${role}/tokens`]!).data, Number);
    const folder = folderOf(name, name);
    const { answers } = await lfmJson("generate", "--model", folder, "--prompt", words(ids("in")), "--max-new-tokens", "20");
    expect((answers as { completion: string }[])[0]!.completion.trim()).toBe(words(ids("out")));
  },
);

it("lfm eval honours what a config says of scores, and lfm refuses by name what it does not compute", async () => {
  const row = [5, 17, 3, 88, 42, 9, 61, 7];
  const data = join(scratch, "rows.jsonl");
  writeFileSync(data, JSON.stringify({ text: words(row) }));
  const losses: number[] = [];
  for (const [name, options] of [
    ["plain", {}],
    ["inverse", { scale_attn_by_inverse_layer_idx: true }],
    ["unscaled", { scale_attn_weights: false }],
  ] as const) {
    const folder = folderOf("gpt2", name, options);
    const { metrics } = (await lfmJson("eval", "--model", folder, "--data", data)) as { metrics: { loss: number } };
    const { model } = await loadModel(folder);
    const predictor = await createPredictor(await ortEngine({ threads: 1 }), model, "logits");
    const [logits] = await predictor.predict([row]);
    await predictor.dispose();
    const rows = row.slice(1).map((target, t) => {
      const p = Array.from(logits!.data.slice(t * 97, (t + 1) * 97), Number);
      return Math.log(p.reduce((sum, v) => sum + Math.exp(v), 0)) - p[target]!;
    });
    expect(metrics.loss).toBeCloseTo(rows.reduce((a, b) => a + b, 0) / rows.length, 4);
    losses.push(metrics.loss);
  }
  expect(new Set(losses.map((loss) => loss.toFixed(3))).size).toBe(3);
  const folder = folderOf("gpt2", "crossed", { add_cross_attention: true });
  const { code, err } = await runLfm("eval", "--model", folder, "--data", data);
  expect(code).toBe(2);
  expect(err).toContain("add_cross_attention: true is not known; only false is");
});

it("lfm tune learns on each kind of layers, and its delta is read again", async () => {
  const data = join(scratch, "train.jsonl");
  const rows = Array.from({ length: 8 }, (_, i) => ({ prompt: `w${i} w${i + 1}`, completion: ` w${i + 2} w${i + 3}` }));
  writeFileSync(data, rows.map((row) => JSON.stringify(row)).join("\n"));
  for (const [fixture, method] of [
    ["phi3", "lora"],
    ["gpt-neox", "ia3"],
    ["gemma3", "lora"],
  ] as const) {
    const folder = folderOf(fixture, `${fixture}-tuned`);
    const out = join(scratch, `${fixture}-delta`);
    const common = ["--model", folder, "--data", data];
    const before = (await lfmJson("eval", ...common)) as { metrics: { loss: number } };
    await lfmJson("tune", method, ...common, "--steps", "20", "--lr", "0.02", "--out", out);
    const after = (await lfmJson("eval", ...common, "--delta", out)) as { metrics: { loss: number } };
    expect([fixture, after.metrics.loss < before.metrics.loss - 0.5]).toEqual([fixture, true]);
  }
});
