import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { initWeights, llama, loadModel, saveModel } from "@lfm/models";
import { loadZoo } from "@lfm/models/zoo";
import { afterAll, beforeAll, expect, it } from "vitest";
import { lfmJson, runLfm } from "../../test/run-lfm.js";
import { saveZooTokenizer } from "../inputs/zoo-folder.js";

const folder = mkdtempSync(join(tmpdir(), "lfm-student-"));
afterAll(() => rmSync(folder, { recursive: true }));
const at = (name: string): string => join(folder, name);
let words: readonly string[];

beforeAll(async () => {
  const zoo = await loadZoo();
  ({ words } = zoo.world.vocabulary);
  const sizes = { hidden_size: 8, num_hidden_layers: 3, num_attention_heads: 2, intermediate_size: 12, max_position_embeddings: 32 };
  const teacher = llama({ ...sizes, vocab_size: words.length });
  await saveModel(at("teacher"), { ...teacher, params: initWeights(teacher.info, { seed: 2 }) });
  saveZooTokenizer(at("teacher"), zoo);
  const rows = Array.from({ length: 4 }, (_, i) => JSON.stringify({ prompt: `say ${words[20 + i]} :`, completion: words[40 + i] }));
  writeFileSync(at("data.jsonl"), rows.join("\n"));
});

it("is made of its teacher, with its tokenizer and with how it began, and is taught", async () => {
  const made = await lfmJson("student", "--teacher", at("teacher"), "--every", "2", "--width", "4", at("student"));
  expect(made).toMatchObject({ from: "teacher", layers: [0, 2], width: 4, by: "svd", teacher: { name: at("teacher") } });
  expect(JSON.parse(readFileSync(at("student/student.json"), "utf8"))).toMatchObject({ layers: [0, 2], by: "svd" });
  const { model, tokenizer } = await loadModel(at("student"));
  expect([model.info.layers, model.info.hiddenSize, model.info.heads]).toEqual([2, 4, 1]);
  expect(tokenizer!.encode(words[20]!, { addSpecialTokens: false }).ids).toEqual([20]);
  const given = ["--teacher", at("teacher"), "--student", at("student"), "--data", at("data.jsonl"), "--steps", "8", "--lr", "0.01"];
  const { loss } = await lfmJson("distill", "gkd", ...given, "--on-policy", "0.5", "--max-new-tokens", "3", at("taught"));
  expect((loss as { last: number }).last).toBeLessThan((loss as { first: number }).first);
});

it("is made and taught in one go of the layers that are named", async () => {
  const given = ["--teacher", at("teacher"), "--data", at("data.jsonl"), "--steps", "4"];
  const { parameters, studentLayers } = await lfmJson("distill", "logit-kd", ...given, "--student-layers", "0,2", at("pruned"));
  expect(studentLayers).toEqual([0, 2]);
  expect(parameters).toBeGreaterThan(0);
  expect((await loadModel(at("pruned"))).model.info.layers).toBe(2);
  const both = await runLfm("distill", "logit-kd", ...given, "--student-layers", "0,2", "--student", at("teacher"));
  expect(both).toMatchObject({ code: 2, err: expect.stringContaining("both say who learns") });
  const none = await runLfm("distill", "logit-kd", ...given);
  expect(none).toMatchObject({ code: 2, err: expect.stringContaining("--student is not given") });
});

it("learns of answers that are kept: a second student finds them", async () => {
  const given = ["--teacher", at("teacher"), "--data", at("data.jsonl"), "--steps", "2", "--student-layers", "0", "--cache", at("answers")];
  await lfmJson("distill", "logit-kd", ...given, at("first"));
  const kept = (): number => Math.max(...readdirSync(at("answers")).map((name) => statSync(join(at("answers"), name, "answers.bin")).size));
  const size = kept();
  expect(size).toBeGreaterThan(4 * words.length * 2);
  await lfmJson("distill", "gkd", ...given, "--on-policy", "0", at("second"));
  expect(kept()).toBe(size);
  const idle = await runLfm("distill", "gkd", ...given, at("third"));
  expect(idle).toMatchObject({ code: 2, err: expect.stringContaining("--on-policy 0") });
  const vain = await runLfm("distill", "logit-kd", ...given.slice(0, -2), "--cache-top-k", "4", at("third"));
  expect(vain).toMatchObject({ code: 2, err: expect.stringContaining("--cache ./answers") });
});

it("is made fresh of a config; what does not go together is said before", async () => {
  const made = await lfmJson("student", "--shape", at("teacher/config.json"), "--teacher", at("teacher"), "--seed", "5", at("fresh"));
  expect(made).toMatchObject({ from: "config", seed: 5 });
  expect(await runLfm("student", "--shape", at("teacher/config.json"), "--every", "2", at("x"))).toMatchObject({
    code: 2,
    err: expect.stringContaining("--every"),
  });
  expect(await runLfm("student", at("x"))).toMatchObject({ code: 2, err: expect.stringContaining("lfm student --teacher") });
  expect(await runLfm("student", "--teacher", at("teacher"), "--width", "6", at("x"))).toMatchObject({ code: 2 });
});
