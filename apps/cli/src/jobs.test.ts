import { spawn } from "node:child_process";
import { copyFileSync, existsSync, mkdirSync, mkdtempSync, readFileSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { saveModel } from "@lfm/models";
import { loadZoo } from "@lfm/models/zoo";
import { beforeAll, describe, expect, it } from "vitest";
import { lfmJson, runLfm } from "../test/run-lfm.js";

const folder = mkdtempSync(join(tmpdir(), "lfm-jobs-"));
const at = (name: string): string => join(folder, name);

beforeAll(() => {
  const good = "kind gentle brave wise honest merry calm loyal noble bright".split(" ");
  const bad = "cruel greedy bitter vain rude lazy false grim harsh sullen".split(" ");
  const rows = Array.from({ length: 60 }, (_, i) => {
    const words = i % 2 === 0 ? good : bad;
    return JSON.stringify({ prompt: `say ${words[i % 10]} and ${words[(i + 3) % 10]} :`, completion: i % 2 === 0 ? "<l0>" : "<l1>" });
  });
  writeFileSync(at("train.jsonl"), rows.slice(0, 40).join("\n"));
  writeFileSync(at("valid.jsonl"), rows.slice(40).join("\n"));
});

describe("jobs of the command line", () => {
  it("tunes, measures, and puts the delta on and off", async () => {
    const tuned = await lfmJson(
      "tune",
      "lora",
      "--model",
      "zoo-lm",
      "--data",
      at("train.jsonl"),
      "--valid",
      at("valid.jsonl"),
      "--r",
      "4",
      "--steps",
      "40",
      "--lr",
      "0.005",
      "--out",
      at("tuned"),
    );
    expect(tuned.trainedParams).toBeLessThan(0.05 * (tuned.totalParams as number));
    expect((tuned.valid as { after: { exactMatch: number } }).after.exactMatch).toBeGreaterThan(0.9);
    const measured = await lfmJson("eval", "--model", "zoo-lm", "--data", at("valid.jsonl"), "--delta", at("tuned"));
    expect((measured.metrics as { exactMatch: number }).exactMatch).toBe(
      (tuned.valid as { after: { exactMatch: number } }).after.exactMatch,
    );
    const plain = await lfmJson("eval", "--model", "zoo-lm", "--data", at("valid.jsonl"));
    expect((plain.metrics as { exactMatch: number }).exactMatch).toBeLessThan(0.6);
    expect(existsSync(join(at("tuned"), "checkpoint"))).toBe(false);
    // The same adapter in PEFT's form, as it would come from Python.
    mkdirSync(at("peft"));
    for (const file of ["adapter_config.json", "adapter_model.safetensors"]) copyFileSync(join(at("tuned"), file), join(at("peft"), file));
    const fromPeft = await lfmJson("eval", "--model", "zoo-lm", "--data", at("valid.jsonl"), "--delta", at("peft"));
    expect(fromPeft.metrics).toEqual(measured.metrics);
  });

  it("generates what the zoo's model knows; the same with the model saved as a Hugging Face folder", async () => {
    const { lm, world } = await loadZoo();
    const fact = world.facts[0]!;
    const prompt = `${fact.relation} ${fact.subject}`;
    const { answers } = (await lfmJson("generate", "--model", "zoo-lm", "--prompt", prompt, "--max-new-tokens", "1")) as {
      answers: { completion: string }[];
    };
    expect(answers[0]!.completion).toBe(fact.value);
    await saveModel(at("saved"), lm);
    const error = await runLfm("generate", "--model", at("saved"), "--prompt", prompt);
    expect(error).toMatchObject({ code: 2, err: expect.stringContaining("tokenizer") });
  });

  it("refuses a delta of another model, an unknown model, and data that is not there", async () => {
    const { lm } = await loadZoo();
    await saveModel(at("other"), {
      ...lm,
      params: { ...lm.params, "model.norm.weight": { dtype: "f32", shape: [128], data: new Float32Array(128).fill(2) } },
    });
    expect(await runLfm("generate", "--model", at("other"), "--prompt", "x", "--delta", at("tuned"))).toMatchObject({
      code: 1,
      err: expect.stringContaining("made on another model"),
    });
    expect(await runLfm("generate", "--model", "zoo-lmm", "--prompt", "x")).toMatchObject({
      code: 2,
      err: expect.stringContaining('no model "zoo-lmm"'),
    });
    expect(await runLfm("tune", "lora", "--model", "zoo-lm", "--data", at("none.jsonl"))).toMatchObject({
      code: 1,
      err: expect.stringContaining("none.jsonl"),
    });
  });

  it("merges saved models, by method and by a mergekit file; average of equals is the model", async () => {
    const { lm, lmHash } = await loadZoo();
    await saveModel(at("a"), lm);
    await saveModel(at("b"), lm);
    writeFileSync(
      at("merge.yml"),
      "merge_method: linear\nmodels:\n  - model: a\n    parameters: { weight: 1 }\n  - model: b\n    parameters: { weight: 3 }\ndtype: bfloat16\n",
    );
    const merged = await lfmJson("merge", at("merge.yml"), at("merged"));
    expect(merged.method).toBe("linear");
    const { loadModel } = await import("@lfm/models");
    expect(await (await loadModel(at("merged"))).hash()).toBe(lmHash);
    const ties = await lfmJson("merge", "ties", "--base", at("a"), "--model", at("b"), "--density", "0.5", "--out", at("ties"));
    expect(ties).toMatchObject({ method: "ties", tensors: merged.tensors });
    const explained = await lfmJson("merge", "ties", "--base", at("a"), "--model", at("b"), "--density", "0.5", "--explain");
    expect((explained.tensors as { models: object[] }[])[0]!.models).toMatchObject([{ parameters: { weight: 1, density: 0.5 } }]);
    expect(await runLfm("merge", at("merge.yml"), at("x"), "--check")).toMatchObject({ code: 0, out: expect.stringContaining("✔") });
    expect(await runLfm("merge", at("merge.yml"), at("merged"))).toMatchObject({ code: 2, err: expect.stringContaining("--overwrite") });
    const planned = await lfmJson("merge", at("merge.yml"), at("x"), "--dry-run", "--max-memory", "512MiB");
    expect(planned).toMatchObject({ maxMemory: 2 ** 29, tensors: merged.tensors });
    writeFileSync(at("typo.yml"), "merge_method: linear\nmodells: []\n");
    expect(await runLfm("merge", at("typo.yml"), at("x"))).toMatchObject({
      code: 2,
      err: expect.stringContaining('did you mean "models"'),
    });
  });

  it("indexes documents and finds them", async () => {
    writeFileSync(
      at("docs.jsonl"),
      '{"id":"a","title":"Adapters","text":"small networks between frozen layers"}\n{"id":"b","text":"averaging the weights of models"}\n',
    );
    expect(await lfmJson("index", at("docs.jsonl"), "--out", at("index"))).toMatchObject({ kind: "bm25", documents: 2 });
    const found = (await lfmJson("search", at("index"), "average", "weights")) as { hits: { id: string; text: string }[] };
    expect(found.hits.map((h) => h.id)).toEqual(["b"]);
    expect(await runLfm("search", at("nothing"), "x")).toMatchObject({ code: 1, err: expect.stringContaining("lfm index") });
  });

  it("learns a family of tasks and shows how it does on unseen ones", async () => {
    const learned = await lfmJson("meta", "maml", "--family", "sinusoid", "--steps", "30", "--tasks", "8", "--out", at("meta"));
    expect((learned.metrics as { mse: number }).mse).toBeGreaterThan(0);
    expect(existsSync(join(at("meta"), "model.safetensors"))).toBe(true);
  });

  it("saves itself on Ctrl-C, says how to go on, and goes on", async () => {
    const launcher = new URL("../bin/lfm.js", import.meta.url).pathname;
    const args = ["tune", "full", "--model", "zoo-lm", "--data", at("train.jsonl"), "--steps", "100000", "--out", at("stopped")];
    const child = spawn(process.execPath, [launcher, ...args], { cwd: folder });
    let err = "";
    let interruptedAt = 0;
    child.stderr.on("data", (chunk: Buffer) => {
      err += chunk.toString();
      if (interruptedAt === 0 && err.includes("/100000 step")) {
        interruptedAt = performance.now();
        child.kill("SIGINT");
      }
    });
    const code = await new Promise<number | null>((resolve) => child.once("exit", resolve));
    expect(code).toBe(130);
    expect(err).toContain("Go on with the same command");
    const saved = readFileSync(join(`${at("stopped")}.partial`, "checkpoint", "tuning-full.safetensors"));
    expect(saved.length).toBeGreaterThan(1_000_000);
    const step = Number(/"step":"(\d+)"/.exec(saved.subarray(0, 100_000).toString("latin1"))![1]);
    const { err: second } = await runLfm(...args.slice(0, -4), "--steps", String(step + 2), "--out", at("stopped"));
    expect(second).toContain(`${step + 2}/${step + 2} step`);
    expect(existsSync(join(at("stopped"), "delta.safetensors"))).toBe(true);
  });
});
