import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { readModelFolder, readPeftAdapter } from "@lfm/formats";
import { bert, initWeights, saveModel } from "@lfm/models";
import { loadZoo } from "@lfm/models/zoo";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { lfmJson, runLfm } from "../test/run-lfm.js";
import { saveZooTokenizer } from "./inputs/zoo-folder.js";

const folder = mkdtempSync(join(tmpdir(), "lfm-classifiers-"));
afterAll(() => rmSync(folder, { recursive: true }));
const at = (name: string): string => join(folder, name);
const metricsOf = async (data: string, ...given: string[]): Promise<{ readonly accuracy: number; readonly loss: number }> =>
  (await lfmJson("eval", "--data", at(data), ...given)).metrics as { accuracy: number; loss: number };
const configOf = (name: string): Readonly<Record<string, unknown>> => readModelFolder(at(name)).config;

/** Two tasks of one encoder: which word is there, of two classes and of three. */
beforeAll(async () => {
  const zoo = await loadZoo();
  const { words } = zoo.world.vocabulary;
  const rows = (labels: readonly string[]): string =>
    Array.from({ length: 12 }, (_, i) =>
      JSON.stringify({ text: `say ${words[20 + (i % labels.length)]}`, label: labels[i % labels.length] }),
    ).join("\n");
  writeFileSync(at("mood.jsonl"), rows(["good", "bad"]));
  writeFileSync(at("topic.jsonl"), rows(["sport", "music", "food"]));
  writeFileSync(at("verdict.jsonl"), rows(["guilty", "free"]));
  const encoder = bert({
    ...{ hidden_size: 8, num_hidden_layers: 1, num_attention_heads: 2, intermediate_size: 12, max_position_embeddings: 32 },
    vocab_size: words.length,
  });
  await saveModel(at("base"), { ...encoder, params: initWeights(encoder.info, { seed: 1 }) });
  saveZooTokenizer(at("base"), zoo);
  for (const task of ["mood", "topic", "verdict"]) {
    const train = ["--model", at("base"), "--data", at(`${task}.jsonl`), "--steps", "60", "--lr", "0.05", "--out", at(task)];
    await lfmJson("tune", "lora", ...train);
    await lfmJson("merge", "passthrough", "--model", `${at("base")}+${at(task)}`, at(`${task}-model`));
  }
});

describe("classifiers between PEFT, deltas and merges", () => {
  it("an adapter has the names of transformers' class, and the last line says how Python loads it", async () => {
    const { config, tensors } = readPeftAdapter(at("mood"));
    expect(config).toMatchObject({ task_type: "SEQ_CLS", modules_to_save: ["classifier"] });
    const path = "bert.encoder.layer.0.attention.self.query";
    expect(config.target_modules).toContain(path);
    expect(Object.keys(tensors)).toContain(`${path}.lora_A.weight`);
    expect(Object.keys(tensors).filter((name) => !name.startsWith("bert."))).toEqual(
      expect.arrayContaining(["classifier.weight", "classifier.bias"]),
    );
    const readme = readFileSync(join(at("mood"), "README.md"), "utf8");
    expect(readme).toContain('labels = ["bad","good"]');
    expect(readme).toContain("num_labels=2");
    const { out, err } = await runLfm(
      "tune",
      "ia3",
      "--model",
      at("base"),
      "--data",
      at("topic.jsonl"),
      "--steps",
      "1",
      "--out",
      at("ia3"),
    );
    expect(out + err).toContain(
      `in Python: PeftModel.from_pretrained(AutoModelForSequenceClassification.from_pretrained("${at("base")}", num_labels=3), "${at("ia3")}")`,
    );
  });

  it("PEFT's files alone say the same as the delta; classes without names get transformers'", async () => {
    cpSync(at("mood"), at("peft"), { recursive: true });
    rmSync(join(at("peft"), "delta.safetensors"));
    const own = await metricsOf("mood.jsonl", "--model", at("base"), "--delta", at("mood"));
    expect(own.accuracy).toBe(1);
    expect((await metricsOf("mood.jsonl", "--model", at("base"), "--delta", at("peft"))).loss).toBeCloseTo(own.loss, 6);
    // On the folder of a classifier, too: the head takes the place of the other one's.
    expect((await metricsOf("mood.jsonl", "--model", at("verdict-model"), "--delta", at("peft"))).accuracy).toBeLessThanOrEqual(1);
    rmSync(join(at("peft"), "labels.json"));
    writeFileSync(
      at("unnamed.jsonl"),
      readFileSync(at("mood.jsonl"), "utf8").replaceAll('"bad"', '"LABEL_0"').replaceAll('"good"', '"LABEL_1"'),
    );
    expect((await metricsOf("unnamed.jsonl", "--model", at("base"), "--delta", at("peft"))).loss).toBeCloseTo(own.loss, 6);
    writeFileSync(join(at("peft"), "labels.json"), '["a", "b", "c"]');
    expect((await runLfm("eval", "--data", at("mood.jsonl"), "--model", at("base"), "--delta", at("peft"))).err).toContain(
      "names 3 classes",
    );
  });

  it.each(["full", "lora"])("lfm tune %s --whole saves the class with its labels, which answers as the delta does", async (method) => {
    const train = ["--model", at("base"), "--data", at("mood.jsonl"), "--steps", "40", "--lr", "0.02"];
    const [whole, delta] = [at(`${method}-whole`), at(`${method}-delta`)];
    await lfmJson("tune", method, ...train, "--out", delta);
    const { out } = await runLfm("tune", method, ...train, "--whole", "--out", whole);
    expect(out).toContain(`--model ${whole}, or in Python: AutoModelForSequenceClassification.from_pretrained("${whole}")`);
    const { config, weights } = readModelFolder(whole);
    expect(config).toMatchObject({ architectures: ["BertForSequenceClassification"], id2label: { 0: "bad", 1: "good" } });
    expect(Object.keys(weights)).toEqual(expect.arrayContaining(["bert.pooler.dense.weight", "classifier.weight"]));
    const [own, other] = [
      await metricsOf("mood.jsonl", "--model", whole),
      await metricsOf("mood.jsonl", "--model", at("base"), "--delta", delta),
    ];
    expect(own.loss).toBeCloseTo(other.loss, 5);
    expect(own.accuracy).toBe(1);
  });

  it("what is more than weights has no whole form: it is saved as a delta, and that is said", async () => {
    const train = ["--model", at("base"), "--data", at("mood.jsonl"), "--steps", "1", "--whole", "--out", at("prompt")];
    const { code, out, err } = await runLfm("tune", "prompt", ...train);
    expect([code, err, out]).toEqual([0, expect.stringContaining("more than weights"), expect.stringContaining("--delta")]);
  });

  it("a base with an adapter for classes is written as the class that it is, with its labels", async () => {
    expect(configOf("topic-model")).toMatchObject({
      architectures: ["BertForSequenceClassification"],
      id2label: { 0: "food", 1: "music", 2: "sport" },
      label2id: { food: 0, music: 1, sport: 2 },
    });
    const names = Object.keys(readModelFolder(at("topic-model")).weights);
    expect(names.filter((name) => !name.startsWith("bert.")).sort()).toEqual(["classifier.bias", "classifier.weight"]);
    const before = await metricsOf("topic.jsonl", "--model", at("base"), "--delta", at("topic"));
    expect((await metricsOf("topic.jsonl", "--model", at("topic-model"))).loss).toBeCloseTo(before.loss, 4);
  });

  it("heads of different tasks: one is kept, or all are left out, or the merge is refused with these ways", async () => {
    const given = ["--base", at("base"), "--model", at("mood-model"), "--model", at("topic-model")];
    const refused = await runLfm("merge", "task-arithmetic", ...given, at("no"));
    expect(refused.err).toContain("--heads");
    for (const [task, classes] of [
      ["mood", ["bad", "good"]],
      ["topic", ["food", "music", "sport"]],
    ] as const) {
      const out = `kept-${task}`;
      await lfmJson("merge", "task-arithmetic", ...given, "--heads", at(`${task}-model`), "--lambda", "0.5", at(out));
      expect(configOf(out)).toMatchObject({ architectures: ["BertForSequenceClassification"], id2label: { ...classes } });
      const head = (name: string): unknown => readModelFolder(at(name)).weights["classifier.weight"]!.read().data;
      expect(head(out)).toEqual(head(`${task}-model`));
      expect((await metricsOf(`${task}.jsonl`, "--model", at(out))).accuracy).toBeGreaterThan(0.3);
    }
    await lfmJson("merge", "task-arithmetic", ...given, "--heads", "none", at("bare"));
    expect(configOf("bare")).toMatchObject({ architectures: ["BertModel"] });
    expect(configOf("bare")).not.toHaveProperty("id2label");
    expect(Object.keys(readModelFolder(at("bare")).weights)).toEqual(Object.keys(readModelFolder(at("base")).weights));
  });

  it("heads of one shape for other classes are not averaged unless that is asked for", async () => {
    const given = ["--model", at("mood-model"), "--model", at("verdict-model")];
    const refused = await runLfm("merge", "average", ...given, at("mixed"));
    expect(refused.err).toContain("(bad, good)");
    expect(refused.err).toContain("(free, guilty)");
    await lfmJson("merge", "average", ...given, "--heads", "merge", at("mixed"));
    expect(configOf("mixed")).toMatchObject({ id2label: { 0: "bad", 1: "good" } });
    writeFileSync(
      at("heads.yml"),
      `merge_method: linear\nheads: ${at("verdict-model")}\nmodels:\n${given
        .filter((g) => g !== "--model")
        .map((m) => `- {model: ${m}, parameters: {weight: 1}}`)
        .join("\n")}\n`,
    );
    await lfmJson("merge", at("heads.yml"), at("from-file"));
    expect(configOf("from-file")).toMatchObject({ id2label: { 0: "free", 1: "guilty" } });
    const unknown = await runLfm("merge", "average", ...given, "--heads", at("base"), at("never"));
    expect(unknown.err).toContain("none of the models that are merged");
  });
});
