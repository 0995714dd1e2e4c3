import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { readExamples } from "@lfm/data";
import { bert, initWeights, llama, loadModel, saveModel } from "@lfm/models";
import { loadZoo } from "@lfm/models/zoo";
import { languageRows } from "@lfm/tuning";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { lfmJson, runLfm } from "../test/run-lfm.js";
import { saveZooTokenizer } from "./inputs/zoo-folder.js";

const folder = mkdtempSync(join(tmpdir(), "lfm-text-tasks-"));
afterAll(() => rmSync(folder, { recursive: true }));
const at = (name: string): string => join(folder, name);
const lines = (name: string, rows: readonly object[]): string => {
  writeFileSync(at(name), rows.map((r) => JSON.stringify(r)).join("\n"));
  return at(name);
};
/** What a refused command says. */
const refused = async (...argv: string[]): Promise<string> => {
  const { code, err } = await runLfm(...argv);
  expect(code, err).toBeGreaterThan(0);
  return err;
};
const small = { hidden_size: 16, num_hidden_layers: 1, num_attention_heads: 2, intermediate_size: 32, max_position_embeddings: 64 };
let words: readonly string[];

beforeAll(async () => {
  const zoo = await loadZoo();
  words = zoo.world.vocabulary.words.slice(20);
  for (const model of [
    bert({ ...small, vocab_size: zoo.world.vocabulary.words.length }),
    llama({ ...small, vocab_size: zoo.world.vocabulary.words.length }),
  ]) {
    const name = at(model.info.architecture);
    await saveModel(name, { ...model, params: initWeights(model.info, { seed: 1 }) });
    saveZooTokenizer(name, zoo);
  }
});

const tune = (...more: string[]): string[] => ["tune", "lora", "--model", at("bert"), "--steps", "2", ...more];

describe("examples that teach nothing", () => {
  it("are refused by row, by a classifier and a language model alike", async () => {
    const half = lines("half.jsonl", [{ text: words[0] }, { text: words[1], label: "a" }]);
    for (const model of ["bert", "llama"])
      expect(await refused("tune", "lora", "--model", at(model), "--data", half, "--out", at("no"))).toContain('half.jsonl:1: no "label"');
    const unlabelled = lines("unlabelled.jsonl", [{ text: words[0], mark: 1 }]);
    expect(await refused(...tune("--data", unlabelled))).toContain("unlabelled.jsonl has the columns text, mark; label is missing");
    expect(await refused(...tune("--data", unlabelled, "--regression"))).toContain("label is missing");
  });

  it("have a label that no training example has: refused before any work", async () => {
    const data = lines(
      "ab.jsonl",
      [0, 1, 2, 3].map((i) => ({ text: words[i], label: i % 2 === 0 })),
    );
    const valid = lines("abc.jsonl", [
      { text: words[0], label: true },
      { text: words[1], label: "c" },
    ]);
    const long = ["--steps", "1000000", "--valid", valid, "--out", at("late")];
    expect(await refused("tune", "lora", "--model", at("bert"), "--data", data, ...long)).toContain(
      'abc.jsonl:2: the label "c" is none of false, true',
    );
    expect(existsSync(at("late"))).toBe(false);
  });

  it("have prompts that take all tokens up: refused, or left out and said", async () => {
    const prompt = words.slice(0, 30).join(" ");
    const all = lines(
      "all.jsonl",
      [0, 1].map((i) => ({ prompt: `${prompt} ${words[i]}`, completion: words[40]! })),
    );
    for (const verb of [["tune", "lora", "--steps", "2", "--out", at("no")], ["eval"]]) {
      const said = await refused(...verb, "--model", at("llama"), "--data", all, "--max-length", "16");
      expect(said).toContain("within 16 tokens nothing is left to learn");
      expect(said).toContain("--max-length 34");
    }
    const some = lines("some.jsonl", [
      { prompt, completion: words[40]! },
      { prompt: words[0]!, completion: words[41]! },
    ]);
    const few = lines("few.jsonl", [{ prompt: words[0]!, completion: words[41]! }]);
    const ofSome = await runLfm("eval", "--model", at("llama"), "--data", some, "--max-length", "16", "--json");
    expect(ofSome.err).toContain("1 of 2 examples");
    expect(ofSome.err).toContain("have nothing to learn within 16 tokens and are left out; --max-length 33 takes all of them whole");
    const { metrics } = JSON.parse(ofSome.out) as { metrics: object };
    expect(metrics).toEqual((await lfmJson("eval", "--model", at("llama"), "--data", few)).metrics);
  });
});

describe("pairs of texts", () => {
  /** What is right of a pair stands in its second text alone. */
  const pairs = (): readonly Readonly<Record<string, unknown>>[] =>
    Array.from({ length: 36 }, (_, i) => {
      const [a, b] = [i % 6, Math.floor(i / 6)];
      return { premise: words[a], hypothesis: words[b], label: b % 2 === 0 ? "even" : "odd", score: b - 2.5 };
    });

  it("are told apart by both texts: learned, measured, predicted", async () => {
    const data = lines("pairs.jsonl", pairs());
    const args = ["--model", at("bert"), "--data", data, "--valid", data, "--steps", "60", "--lr", "0.01", "--batch-size", "36"];
    const { valid } = await lfmJson("tune", "full", ...args, "--out", at("judge"));
    expect((valid as { after: { accuracy: number } }).after.accuracy).toBe(1);
    const measured = await lfmJson("eval", "--model", at("bert"), "--delta", at("judge"), "--data", data);
    expect(measured.metrics).toEqual((valid as { after: object }).after);
    expect((measured.classes as { label: string; support: number }[]).map((c) => [c.label, c.support])).toEqual([
      ["even", 18],
      ["odd", 18],
    ]);
    const asked = lines(
      "asked.jsonl",
      pairs().map(({ premise, hypothesis }) => ({ premise, hypothesis })),
    );
    const { predictions } = await lfmJson("predict", "--model", at("bert"), "--delta", at("judge"), "--data", asked);
    expect((predictions as { label: string }[]).map((p) => p.label)).toEqual(pairs().map((p) => p.label));
    // Without the second text there is nothing to go by.
    const alone = await lfmJson("eval", "--model", at("bert"), "--delta", at("judge"), "--data", data, "--columns", "text=premise");
    expect((alone.metrics as { accuracy: number }).accuracy).toBeLessThan(0.9);
    expect(await refused("tune", "lora", "--model", at("llama"), "--data", data)).toContain("a language model reads no pairs of texts");
  });

  it("have values: learned by --regression, measured by ranks, predicted", async () => {
    const data = lines("values.jsonl", pairs());
    const args = [
      "--model",
      at("bert"),
      "--data",
      data,
      "--regression",
      "--valid",
      data,
      "--steps",
      "60",
      "--lr",
      "0.01",
      "--batch-size",
      "36",
    ];
    const { valid } = await lfmJson("tune", "full", ...args, "--out", at("value"));
    const { after } = valid as { after: { mse: number; spearman: number } };
    expect(after.mse).toBeLessThan(0.3);
    expect(after.spearman).toBeGreaterThan(0.9);
    expect(existsSync(at("value/labels.json"))).toBe(false);
    const { metrics, standardErrors } = await lfmJson("eval", "--model", at("bert"), "--delta", at("value"), "--data", data);
    expect(metrics).toEqual(after);
    expect(Object.keys(standardErrors as object)).toEqual(["mse", "pearson", "spearman"]);
    const out = at("answers.jsonl");
    await lfmJson("predict", "--model", at("bert"), "--delta", at("value"), "--data", data, "--out", out);
    const answers = readFileSync(out, "utf8")
      .trim()
      .split("\n")
      .map((l) => JSON.parse(l) as { text: string; value: number });
    expect(answers[0]).toEqual({ text: words[0], text2: words[0], value: expect.any(Number) });
    expect(answers[0]!.value).toBeLessThan(answers[35]!.value);
    expect(await refused("predict", "--model", at("bert"), "--delta", at("value"), "--data", data, "--out", out)).toContain(
      "is there already",
    );
    expect(await refused("predict", "--model", at("bert"), "--data", data)).toContain("without a head");
  });
});

describe("a run that went wrong", () => {
  it("says so: one class for all, and a loss that ends above its start", async () => {
    const data = lines(
      "one.jsonl",
      [0, 1, 2, 3, 4, 5].map((i) => ({ text: words[i], label: i < 4 ? "often" : "rare" })),
    );
    const wild = await runLfm("tune", "full", "--model", at("bert"), "--data", data, "--steps", "12", "--lr", "5", "--out", at("wild"));
    expect(wild.out).toContain("⚠ every example is given one class");
    expect(wild.out).toContain("⚠ the training loss ends above its start");
    const report = JSON.parse(readFileSync(at("wild/report.json"), "utf8")) as { onlyClass: string; loss: { rose?: boolean } };
    expect(["often", "rare"]).toContain(report.onlyClass);
    expect(report.loss.rose).toBe(true);
    const measured = await runLfm("eval", "--model", at("bert"), "--delta", at("wild"), "--data", data);
    expect(measured.out).toContain(`⚠ every example is given one class, "${report.onlyClass}"`);
  });
});

describe("predictions of a language model", () => {
  it("are its completions, as lfm generate has them", async () => {
    const data = lines("prompts.jsonl", [{ question: words[0]! }, { question: words[5]! }]);
    const wishes = ["--max-new-tokens", "4"];
    const { out } = await runLfm("predict", "--model", at("llama"), "--data", data, ...wishes);
    const given = out
      .trim()
      .split("\n")
      .map((l) => JSON.parse(l) as { prompt: string; completion: string });
    const { answers } = await lfmJson("generate", "--model", at("llama"), "--prompt", words[0]!, "--prompt", words[5]!, ...wishes);
    expect(given).toEqual((answers as { prompt: string; completion: string }[]).map(({ prompt, completion }) => ({ prompt, completion })));
  });
});

describe("conversations", () => {
  it("are learned where the assistant speaks, and answered", async () => {
    const [asked, said] = [words[0]!, words[1]!];
    writeFileSync(
      join(at("llama"), "chat_template.jinja"),
      "{% for m in messages %}{{ m.content }} {{ eos_token }} {% endfor %}{% if add_generation_prompt %}<l1> {% endif %}".replace(
        "{{ m.content }}",
        "{{ '<l0>' if m.role == 'user' else '<l1>' }} {{ m.content }}",
      ),
    );
    const talk = [
      { role: "user", content: asked },
      { role: "assistant", content: said },
    ];
    const { text: rules } = await loadModel(at("llama"));
    const data = lines("talk.jsonl", [{ messages: [...talk, ...talk] }]);
    const [row] = languageRows(readExamples(data), rules!, 64);
    const learned = row!.ids.filter((_, i) => row!.weights[i] === 1);
    expect(rules!.tokenizer.decode(learned, { skipSpecialTokens: true })).toBe(`${said} ${said}`);
    expect(learned).toHaveLength(4);
    await lfmJson("tune", "lora", "--model", at("llama"), "--data", data, "--steps", "2", "--out", at("talked"));
    const open = lines("open.jsonl", [{ messages: talk.slice(0, 1) }]);
    const { predictions } = await lfmJson(
      "predict",
      "--model",
      at("llama"),
      "--delta",
      at("talked"),
      "--data",
      open,
      "--max-new-tokens",
      "2",
    );
    expect(predictions).toEqual([{ messages: talk.slice(0, 1), completion: expect.any(String) }]);
    expect(await refused("tune", "lora", "--model", at("llama"), "--data", open, "--out", at("no"))).toContain("nothing is left to learn");
  });
});

describe("files of other tools", () => {
  it("may begin with a byte-order mark, and are UTF-8", async () => {
    const marked = at("bom.jsonl");
    writeFileSync(marked, `\uFEFF${[0, 1].map((i) => JSON.stringify({ text: words[i], label: i })).join("\r\n")}\r\n`);
    await lfmJson(...tune("--data", marked, "--out", at("marked")));
    const latin = at("latin.csv");
    writeFileSync(latin, Buffer.from("text,label\nsch\u00f6n,a\n", "latin1"));
    const said = await refused(...tune("--data", latin, "--out", at("no")));
    expect(said).toContain("latin.csv:2: holds bytes that are no UTF-8");
    expect(said).toContain("hint: iconv -f WINDOWS-1252 -t UTF-8");
  });

  it("are never looked up on the hub by their path", async () => {
    expect(await refused("eval", "--model", "./models", "--data", "x.csv")).toContain('no model "./models"');
  });
});
