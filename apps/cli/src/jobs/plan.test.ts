import { existsSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { bert, initWeights, llama, saveModel } from "@lfm/models";
import { loadZoo } from "@lfm/models/zoo";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { lfmJson, runLfm } from "../../test/run-lfm.js";
import { saveZooTokenizer } from "../inputs/zoo-folder.js";

const folder = mkdtempSync(join(tmpdir(), "lfm-plan-"));
const at = (...names: string[]): string => join(folder, ...names);
afterAll(() => rmSync(folder, { recursive: true }));

beforeAll(async () => {
  const zoo = await loadZoo();
  const { words } = zoo.world.vocabulary;
  const shape = { hidden_size: 8, num_attention_heads: 2, intermediate_size: 12, max_position_embeddings: 32, vocab_size: words.length };
  for (const [name, model] of [
    ["llama", llama({ ...shape, num_hidden_layers: 3, num_key_value_heads: 1 })],
    ["bert", bert({ ...shape, num_hidden_layers: 2 })],
  ] as const) {
    await saveModel(at(name), { ...model, params: initWeights(model.info, { seed: 1 }) });
    saveZooTokenizer(at(name), zoo);
  }
  writeFileSync(at("lm.jsonl"), JSON.stringify({ prompt: `say ${words[20]} :`, completion: words[40] }));
  writeFileSync(at("labels.jsonl"), ["a", "b", "c"].map((label, i) => JSON.stringify({ text: `say ${words[20 + i]}`, label })).join("\n"));
});

const plan = (...argv: string[]) => lfmJson("tune", ...argv, "--plan", "--out", at("out"));

describe("lfm tune --plan", () => {
  it("counts what learns, layer by layer, and names what is left", async () => {
    const found = await plan("lora", "--model", at("llama"), "--data", at("lm.jsonl"), "--r", "2", "--target-modules", "q,v");
    // 3 layers: A [2, 8] for both, B [8, 2] for q, [4, 2] for the one head of v.
    expect(found.learns).toEqual([
      { name: "model.layers.*.self_attn.q_proj.lora_A.weight", shapes: [[2, 8]], tensors: 3, values: 48 },
      { name: "model.layers.*.self_attn.q_proj.lora_B.weight", shapes: [[8, 2]], tensors: 3, values: 48 },
      { name: "model.layers.*.self_attn.v_proj.lora_A.weight", shapes: [[2, 8]], tensors: 3, values: 48 },
      { name: "model.layers.*.self_attn.v_proj.lora_B.weight", shapes: [[4, 2]], tensors: 3, values: 24 },
    ]);
    expect(found).toMatchObject({ trained: 168, bytes: 672, optimizerBytes: 1344 });
    const left = found.untouched as readonly { readonly name: string; readonly sites: number }[];
    expect(left).toContainEqual({ name: "model.layers.*.self_attn.k_proj", sites: 3 });
    expect(left).toContainEqual({ name: "model.embed_tokens", sites: 1 });
    expect(left.map((g) => g.name)).not.toContain("model.layers.*.self_attn.q_proj");
    expect(existsSync(at("out")) || existsSync(at("out.partial"))).toBe(false);
  });

  it("counts a fresh head, and all of a model in full", async () => {
    const head = await plan("lora", "--model", at("bert"), "--data", at("labels.jsonl"), "--r", "2");
    expect(head.learns).toContainEqual({ name: "classifier.weight", shapes: [[3, 8]], tensors: 1, values: 24 });
    const full = await plan("full", "--model", at("llama"), "--data", at("lm.jsonl"), "--optimizer", "momentum");
    expect([full.trained, full.optimizerBytes, full.untouched]).toEqual([full.total, 4 * (full.total as number), []]);
  });

  it("says it as a table, and refuses what training would refuse", async () => {
    const { out } = await runLfm("tune", "ia3", "--model", at("llama"), "--data", at("lm.jsonl"), "--plan");
    expect(out).toMatch(/model\.layers\.\*\.self_attn\.k_proj\.ia3_l +\[4, 1\] +3 +12/);
    expect(out).toMatch(/60 values learn beside [\d,]+ parameters/);
    const { code, err } = await runLfm(
      "tune",
      "lora",
      "--model",
      at("llama"),
      "--data",
      at("lm.jsonl"),
      "--target-modules",
      "querry",
      "--plan",
    );
    expect([code, err]).toEqual([2, expect.stringMatching(/no linear layer is called "querry"/)]);
  });
});
