import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { killedAt } from "@lfm/core/testing";
import { initWeights, llama, saveModel } from "@lfm/models";
import { loadZoo } from "@lfm/models/zoo";
import { afterAll, beforeAll, expect, it } from "vitest";
import { runLfm } from "../test/run-lfm.js";
import { saveZooTokenizer } from "./inputs/zoo-folder.js";

const scratch = mkdtempSync(join(tmpdir(), "lfm-merge-crashes-"));
afterAll(() => rmSync(scratch, { recursive: true }));
const at = (...names: string[]): string => join(scratch, ...names);

/** Two stages, a vocabulary that is made of several, the zoo's model, files of 2 kB. */
const STAGED = `name: first
merge_method: linear
models:
  - { model: a, parameters: { weight: 1 } }
  - { model: b, parameters: { weight: 2 } }
dtype: float32
---
name: org/second
merge_method: ties
base_model: a
models: [{ model: first, parameters: { weight: 0.5, density: 0.5 } }]
dtype: float32
---
merge_method: linear
models:
  - { model: first, parameters: { weight: 1 } }
  - { model: org/second, parameters: { weight: 1 } }
dtype: bfloat16
tokenizer_source: union
chat_template: chatml
`;

beforeAll(async () => {
  const zoo = await loadZoo();
  const config = {
    hidden_size: 8,
    intermediate_size: 12,
    num_hidden_layers: 1,
    num_attention_heads: 2,
    vocab_size: zoo.world.vocabulary.size,
  };
  for (const [seed, name] of ["a", "b"].entries()) {
    await saveModel(at(name), llama(config, initWeights(llama(config).info, { seed })));
    saveZooTokenizer(at(name), zoo);
  }
  writeFileSync(at("merge.yml"), STAGED);
});

const content = (folder: string): Record<string, string> =>
  Object.fromEntries(readdirSync(folder).map((name) => [name, readFileSync(join(folder, name)).toString("base64")]));
const merge = (out: string, ...more: string[]): ReturnType<typeof runLfm> =>
  runLfm("merge", at("merge.yml"), out, "--threads", "1", "--shard-size", "20000", ...more);
const failing = async (out: string, ...more: string[]): Promise<void> => {
  const { code, err } = await merge(out, ...more);
  if (code !== 0) throw new Error(err);
};

it("stages that are killed at any change of a file leave no model or a whole one, and --resume gives the same bytes", async () => {
  mkdirSync(at("runs"));
  await failing(at("whole"));
  const whole = content(at("whole"));
  expect(Object.keys(whole).filter((name) => name.endsWith(".safetensors")).length).toBeGreaterThan(1);
  let taken = 0;
  for (let n = 1; ; n++) {
    const out = at("runs", `out-${n}`);
    // Before and in the middle by turns: both of every kind of change come.
    const last = await killedAt(at("runs"), n, n % 2 === 0 ? "before" : "inside", () => failing(out));
    if (!last) break;
    taken = n;
    const kind = `${n} ${last.kind} ${last.path}`;
    if (existsSync(out)) expect(content(out), kind).toEqual(whole);
    const again = await merge(out, "--resume");
    expect(again.code, `${kind}: ${again.err}`).toBe(0);
    expect(content(out), kind).toEqual(whole);
    rmSync(out, { recursive: true });
    expect(readdirSync(at("runs")), kind).toEqual([]);
  }
  expect(taken).toBeGreaterThan(100);
});
