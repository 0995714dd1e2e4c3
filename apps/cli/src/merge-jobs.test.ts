import { spawn } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Engine, type HostTensor, type Model, ortEngine, Rng } from "@lfm/core";
import { readExamples } from "@lfm/data";
import { readPeftAdapter, readSafetensors } from "@lfm/formats";
import { initWeights, llama, modelFromConfig, saveModel } from "@lfm/models";
import { loadZoo, type Zoo } from "@lfm/models/zoo";
import {
  addTasks,
  analogousTask,
  applyTask,
  negateTask,
  permutationSpec,
  permuteWeights,
  randomPermutations,
  taskVector,
} from "@lfm/reuse";
import { languageRows } from "@lfm/tuning";
import { beforeAll, describe, expect, it } from "vitest";
import { lfmJson, runLfm } from "../test/run-lfm.js";
import { resolveModel } from "./inputs/models.js";
import { saveZooTokenizer } from "./inputs/zoo-folder.js";
import { measureLanguage } from "./outputs/measure.js";

const folder = mkdtempSync(join(tmpdir(), "lfm-merge-jobs-"));
const at = (name: string): string => join(folder, name);
let engine: Engine;
let extracted: Record<string, unknown>;
type Params = Record<string, HostTensor>;
const models: Record<string, Model> = {};
const params = (name: string): Params => models[name]!.params as Params;
const stored = (name: string): Params =>
  Object.fromEntries(Object.entries(readSafetensors(join(at(name), "model.safetensors")).tensors).map(([k, t]) => [k, t.read()]));
/** What a refused command says. */
const refused = async (...argv: string[]): Promise<string> => {
  const { code, err } = await runLfm(...argv);
  expect(code).toBeGreaterThan(0);
  return err;
};
const quiet = { log: () => {}, progress: () => {} };
/** Loss of `lfm eval` on data.jsonl, without a thread for each call. */
const lossOf = async (name: string, ...deltas: string[]): Promise<number> => {
  const m = await resolveModel(at(name), deltas.map(at), quiet);
  const rows = languageRows(readExamples(at("data.jsonl")), m.text!, 64);
  return (await measureLanguage(engine, m.model, rows, { batchSize: 32, maxLength: 64, seed: 0 })).metrics.loss;
};

/** Every float a little elsewhere. */
const nudged = (from: Params, seed: number, names: (name: string) => boolean = () => true): Params =>
  Object.fromEntries(
    Object.entries(from).map(([name, t]) => {
      const noise = new Rng(seed).split(name).normalArray(t.data.length, names(name) ? 0.05 : 0);
      return [name, { ...t, data: Float32Array.from(t.data as Float32Array, (v, i) => v + noise[i]!) }];
    }),
  );
const save = async (name: string, model: Model, zoo: Zoo): Promise<void> => {
  models[name] = model;
  await saveModel(at(name), model);
  saveZooTokenizer(at(name), zoo);
};

beforeAll(async () => {
  engine = await ortEngine({ threads: 1 });
  const zoo = await loadZoo();
  const sizes = { hidden_size: 16, intermediate_size: 24, num_hidden_layers: 2, num_attention_heads: 2 };
  const config = { ...sizes, vocab_size: zoo.world.vocabulary.size };
  const plan = llama(config);
  await save("base", llama(config, initWeights(plan.info, { seed: 1 })), zoo);
  for (const [i, name] of ["a", "b"].entries()) await save(name, llama(config, nudged(params("base"), i + 2)), zoo);
  await save(
    "linear",
    llama(
      config,
      nudged(params("base"), 9, (name) => /_proj/.test(name)),
    ),
    zoo,
  );
  const spec = permutationSpec(models.a!);
  await save("mixed", llama(config, permuteWeights(spec, randomPermutations(spec, new Rng(4)), params("a")) as Params), zoo);
  const classes = {
    ...config,
    model_type: "bert",
    max_position_embeddings: 64,
    architectures: ["BertForSequenceClassification"],
    id2label: { 0: "bad", 1: "good" },
  };
  for (const [i, name] of ["judge", "other"].entries())
    await save(name, modelFromConfig(classes, initWeights(modelFromConfig(classes).info, { seed: i + 5 })), zoo);
  const words = zoo.world.vocabulary.words.slice(20, 60);
  const rows = Array.from({ length: 24 }, (_, i) => ({
    prompt: `${words[i]} ${words[(3 * i) % 40]} ${words[i + 5]}`,
    completion: words[i % 7]!,
  }));
  const write = (file: string, lines: readonly object[]): void => writeFileSync(at(file), lines.map((l) => JSON.stringify(l)).join("\n"));
  write("data.jsonl", rows);
  write(
    "text.jsonl",
    rows.map((r) => ({ text: `${r.prompt} ${r.completion}` })),
  );
  write(
    "labels.jsonl",
    rows.map((r, i) => ({ text: r.prompt, label: i % 3 === 0 ? "bad" : "good" })),
  );
  extracted = await lfmJson("merge", "extract-lora", "--base", at("base"), "--model", at("linear"), "--rank", "16", at("lora"));
});

describe("task vectors over files", () => {
  it("are those of the API, byte for byte", async () => {
    const base = params("base");
    const [a, b] = [taskVector(base, params("a")), taskVector(base, params("b"))];
    await lfmJson("task-vector", "add", "--base", at("base"), "--model", at("a"), "--model", at("b"), "--scale", "0.5", at("sum"));
    expect(stored("sum")).toEqual(applyTask(base, addTasks([a, b]), 0.5));
    await lfmJson("task-vector", "add", "--base", at("base"), "--model", at("a"), "--model", at("b"), "--scale", "0.5,2", at("weighed"));
    expect(stored("weighed")).toEqual(applyTask(base, addTasks([a, b], [0.5, 2])));
    await lfmJson("task-vector", "negate", "--base", at("base"), "--model", at("a"), at("less"));
    expect(stored("less")).toEqual(applyTask(base, negateTask(a)));
    await lfmJson("task-vector", "analogy", "--from", at("base"), "--to", at("a"), "--apply-to", at("b"), at("alike"));
    const from = (name: string): Params => taskVector(params("b"), params(name)) as Params;
    expect(stored("alike")).toEqual(applyTask(params("b"), analogousTask(from("base"), from("a"), from("b"))));
  });

  it("stream as merges do, and say what is missing", async () => {
    const negate = ["task-vector", "negate", "--base", at("base"), "--model", at("a"), "--scale", "0.25"];
    const { tensors } = (await lfmJson(...negate, "--explain")) as { tensors: { models: { parameters: object }[] }[] };
    expect(tensors[0]!.models[0]!.parameters).toEqual({ weight: -0.25 });
    expect(await runLfm(...negate, "--check")).toMatchObject({ code: 0, out: expect.stringContaining("✔") });
    expect(await lfmJson(...negate, "--dry-run", "--max-memory", "512MiB")).toMatchObject({ maxMemory: 2 ** 29 });
    expect(await runLfm(...negate, at("less"))).toMatchObject({ code: 2, err: expect.stringContaining("--overwrite") });
    expect(await runLfm(...negate, "--model", at("b"))).toMatchObject({ code: 2, err: expect.stringContaining("one model") });
    expect(await runLfm("task-vector", "add", "--base", at("base"))).toMatchObject({
      code: 2,
      err: expect.stringContaining("--model ./a"),
    });
    expect(await runLfm("task-vector", "analogy", "--to", at("a"))).toMatchObject({
      code: 2,
      err: expect.stringContaining("--apply-to ./c"),
    });
    expect(await runLfm("task-vector", "add", "--scale", "x")).toMatchObject({ code: 2, err: expect.stringContaining("a number") });
  });
});

describe("adapters out of models and of adapters", () => {
  it("a change of full rank comes back as a LoRA; two of them concatenated are the sum", async () => {
    expect(extracted).toMatchObject({ rank: 16, omitted: [] });
    expect(await lossOf("base", "lora")).toBeCloseTo(await lossOf("linear"), 5);
    const halves = ["--adapter", at("lora"), "--adapter", at("lora"), "--combination", "cat", "--weight", "0.5,0.5"];
    expect(await lfmJson("merge", "merge-lora", ...halves, at("both"))).toMatchObject({ rank: 32 });
    expect(await lossOf("base", "both")).toBeCloseTo(await lossOf("linear"), 5);
    expect(readPeftAdapter(at("both")).config).toMatchObject({ peft_type: "LORA", r: 32, lora_alpha: 32 });
  });

  it("lora-hub finds the module that helps", async () => {
    await lfmJson("merge", "extract-lora", "--base", at("base"), "--model", at("a"), "--rank", "4", "--no-save-modules", at("lora-a"));
    await lfmJson("merge", "extract-lora", "--base", at("base"), "--model", at("b"), "--rank", "4", "--no-save-modules", at("lora-b"));
    const found = await lfmJson(
      ...["merge", "lora-hub", "--base", at("base"), "--adapter", at("lora-a"), "--adapter", at("lora-b"), "--penalty", "0"],
      ...["--data", at("data.jsonl"), "--batch-size", "24", "--steps", "30", at("hub")],
    );
    expect(Object.keys(found.weights as object)).toEqual([at("lora-a"), at("lora-b")]);
    expect(await lossOf("base", "hub")).toBeLessThan(await lossOf("base"));
    expect(readPeftAdapter(at("hub")).config).toMatchObject({ r: 4 });
  });

  it("says what is missing", async () => {
    const merge = (...argv: string[]): Promise<string> => refused("merge", ...argv, at("x"));
    expect(await merge("extract-lora", "--base", at("base"))).toContain("--model is not given");
    expect(await merge("merge-lora")).toContain("--adapter ./a");
    const hub = ["lora-hub", "--adapter", at("lora"), "--base"];
    expect(await merge(...hub, at("base"))).toContain("--data is not given");
    expect(await merge(...hub, `${at("base")}+${at("lora")}`, "--data", "x")).toContain("lfm merge passthrough");
  });
});

describe("merges that run models", () => {
  const data = ["--data", at("data.jsonl")];
  const two = [...data, ...data];
  const based = ["--base", at("base")];

  it.each([
    ["re-basin", ["--model", at("a"), "--model", at("mixed")], "a"],
    ["ot-fusion", ["--model", at("a"), "--model", at("a")], "a"],
    ["zipit", ["--model", at("a"), "--model", at("a"), ...data], "a"],
    ["regmean-plus-plus", [...based, "--model", at("a"), "--model", at("a"), ...two, "--samples", "24"], "a"],
    ["ada-merging", [...based, "--model", at("a"), "--model", at("b"), ...two, "--init", "0", "--steps", "0"], "base"],
    ["moe-upcycling", [...based, "--model", at("base"), "--model", at("base"), ...two], "base"],
  ])("%s: in its limit it gives a model that is known", async (method, args, known) => {
    await lfmJson("merge", method, ...args, at(method));
    expect(await lossOf(method)).toBeCloseTo(await lossOf(known), 4);
    expect(existsSync(`${at(method)}.partial`)).toBe(false);
    expect(JSON.parse(readFileSync(join(at(method), "report.json"), "utf8"))).toMatchObject({ method: `reuse/${method}` });
  });

  it.each([
    ["smile", ["--model", at("a"), "--rest", "average"], "a"],
    ["wemoe", ["--model", at("a"), ...data, "--init", "1", "--steps", "0"], "a"],
  ])("%s: gives a delta on its base; of one model it is that model", async (method, args, known) => {
    await lfmJson("merge", method, ...based, ...args, at(method));
    expect(await lossOf("base", method)).toBeCloseTo(await lossOf(known), 4);
  });

  it("ada-merging makes answers more certain; dtype is the one that is asked for", async () => {
    const args = [...based, "--model", at("a"), "--model", at("b"), ...two, "--steps", "20", "--lr", "0.05", "--dtype", "bf16"];
    const { coefficients } = await lfmJson("merge", "ada-merging", ...args, at("certain"));
    expect((coefficients as Record<string, number[]>)["model.norm.weight"]).toHaveLength(2);
    const { curves } = JSON.parse(readFileSync(join(at("certain"), "report.json"), "utf8")) as {
      curves: Record<string, [number, number][]>;
    };
    expect(curves.loss!.at(-1)![1]).toBeLessThan(curves.loss![0]![1]);
    expect(stored("certain")["model.norm.weight"]!.dtype).toBe("bf16");
  });

  it("greedy-soup takes in who helps, by loss", async () => {
    const args = ["--model", at("a"), "--model", at("b"), "--data", at("text.jsonl"), "--lower-is-better"];
    const { alone, score } = (await lfmJson("merge", "greedy-soup", ...args, at("soup"))) as {
      alone: Record<string, number>;
      score: number;
    };
    expect(score).toBeLessThanOrEqual(Math.min(...Object.values(alone)));
    const { metrics } = (await lfmJson("eval", "--model", at("soup"), "--data", at("text.jsonl"))) as { metrics: { loss: number } };
    expect(metrics.loss).toBeCloseTo(score, 5);
  });

  it("a delta after + is put into the weights", async () => {
    await lfmJson("merge", "re-basin", "--model", `${at("base")}+${at("lora")}`, "--model", at("linear"), at("plain"));
    expect(await lossOf("plain")).toBeCloseTo(await lossOf("linear"), 5);
  });

  it("refuses before any work what cannot go well", async () => {
    const merge = (method: string, ...argv: string[]): Promise<string> =>
      refused("merge", method, "--model", at("a"), "--model", at("b"), ...argv);
    const [file, out] = [at("data.jsonl"), at("x")];
    expect(await merge("ada-merging", ...based, out)).toContain("--data a.jsonl --data b.jsonl");
    expect(await merge("ada-merging", ...two, out)).toContain("--base ./base");
    expect(await merge("wemoe", ...based, ...data, out)).toContain("1 files of examples for 2 models");
    expect(await merge("re-basin", ...data, out)).toContain("--match activations");
    expect(await merge("re-basin", "--match", "activations", out)).toContain("--data is not given");
    expect(await merge("re-basin", at("a"))).toContain("--overwrite");
    expect(await merge("re-basin", at("a"), "--overwrite")).toContain("read from there");
    expect(await merge("re-basin", file, "--overwrite")).toContain("holds no model");
    expect(await merge("zipit", ...data, "--layers", "1", out)).toContain("cannot be zipped in part");
    expect(await merge("greedy-soup", "--data", at("text.jsonl"), out)).toContain("--lower-is-better");
    expect(await merge("smile", "--base", `${at("base")}+${at("lora")}`, out)).toContain("lfm merge passthrough");
    const models = ["--model", at("a"), "--model", at("b")];
    expect(await runLfm("merge", "re-basin", ...models, ...based)).toMatchObject({
      code: 2,
      err: expect.stringContaining("unknown option '--base'"),
    });
    expect(await runLfm("merge", "re-basim", ...models)).toMatchObject({
      code: 2,
      err: expect.stringContaining('did you mean "re-basin"'),
    });
    writeFileSync(
      at("pair.yml"),
      `merge_method: linear\nmodels:\n  - {model: a, parameters: {weight: big}}\n  - {model: b, parameters: {weight: 1}}\n`,
    );
    expect(await runLfm("merge", at("pair.yml"), ...models, at("x"))).toMatchObject({
      code: 2,
      err: expect.stringContaining("--model has no place"),
    });
    const check = await runLfm("merge", at("pair.yml"), "--check");
    expect(check.err.match(/big/g)?.length).toBe(1);
    expect(check.err).toContain("more tensors)");
    expect(await runLfm("merge", "ties", ...models, at("x"))).toMatchObject({ code: 2, err: expect.stringContaining("--base ./base") });
    expect(await runLfm("merge", at("none.yml"), at("x"))).toMatchObject({ code: 1, err: expect.stringContaining("hint:") });
    expect(await runLfm("merge", "ensemble", ...models)).toMatchObject({ code: 2, err: expect.stringContaining("lfm eval --member") });
    expect(existsSync(at("x"))).toBe(false);
    expect(existsSync(at("x.partial"))).toBe(false);
  });

  it("saves itself on Ctrl-C and goes on", async () => {
    const launcher = new URL("../bin/lfm.js", import.meta.url).pathname;
    const args = ["merge", "ada-merging", ...based, "--model", at("a"), "--model", at("b"), ...two, "--out", at("stopped")];
    const child = spawn(process.execPath, [launcher, ...args, "--steps", "1000000"]);
    let [err, interrupted] = ["", false];
    child.stderr.on("data", (chunk: Buffer) => {
      err += chunk.toString();
      if (!interrupted && err.includes("/1000000 step")) interrupted = child.kill("SIGINT");
    });
    expect(await new Promise<number | null>((resolve) => child.once("exit", resolve))).toBe(130);
    expect(err).toContain("Go on with the same command");
    expect(existsSync(at("stopped"))).toBe(false);
    const saved = readFileSync(join(`${at("stopped")}.partial`, "checkpoint", "ada-merging.safetensors"));
    const step = Number(/"step":"(\d+)"/.exec(saved.toString("latin1"))![1]);
    expect((await runLfm(...args, "--steps", String(step + 2))).err).toContain(`${step + 2}/${step + 2} step`);
    expect(existsSync(join(at("stopped"), "model.safetensors"))).toBe(true);
    expect(existsSync(`${at("stopped")}.partial`)).toBe(false);
  });
});

describe("ensembles", () => {
  it("with all weight on one member it is that member; the order does not matter", async () => {
    const together = async (...args: string[]): Promise<number> =>
      ((await lfmJson("eval", ...args, "--data", at("data.jsonl"))).metrics as { loss: number }).loss;
    const all = ["--member", at("a"), "--member", `${at("base")}+${at("lora")}`, "--ensemble"];
    expect(await together(...all, "weighted", "--weights", "1,0")).toBeCloseTo(await lossOf("a"), 4);
    expect(await together(...all, "weighted", "--weights", "0,1")).toBeCloseTo(await lossOf("linear"), 4);
    const turned = ["--member", all[3]!, "--member", at("a"), "--ensemble", "logits"];
    expect(await together(...turned)).toBeCloseTo(await together(...all, "logits"), 5);
  });

  it("classifiers are stacked on held-out examples", async () => {
    const members = ["--member", at("judge"), "--member", at("other"), "--data", at("labels.jsonl")];
    const stacked = (await lfmJson("eval", ...members, "--ensemble", "stacking", "--held-out", at("labels.jsonl"))).metrics as {
      loss: number;
    };
    const mean = (await lfmJson("eval", ...members)).metrics as { loss: number };
    expect(stacked.loss).toBeLessThan(mean.loss);
  });

  it("says what does not fit", async () => {
    const measured = (...argv: string[]): Promise<string> => refused("eval", "--data", at("data.jsonl"), "--member", at("a"), ...argv);
    const pair = ["--member", at("b"), "--ensemble"];
    expect(await measured(...pair, "stackng")).toContain('did you mean "stacking"');
    expect(await measured(...pair, "stacking")).toContain("--held-out dev.jsonl");
    expect(await measured(...pair, "weighted", "--held-out", at("data.jsonl"))).toContain("--weights 0.5,0.5");
    expect(await measured(...pair, "logits", "--held-out", at("data.jsonl"))).toContain("reads no --held-out");
    expect(await measured()).toContain("two members");
    expect(await measured("--member", at("judge"))).toContain("is a causal-lm");
    expect(await runLfm("eval", "--model", at("a"), "--member", at("b"), "--data", at("data.jsonl"))).toMatchObject({
      code: 2,
      err: expect.stringContaining("--member ./a"),
    });
  });
});
