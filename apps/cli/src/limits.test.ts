import { copyFileSync, mkdirSync, mkdtempSync, readFileSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { beforeAll, describe, expect, it } from "vitest";
import { lfmJson, runLfm } from "../test/run-lfm.js";

const golden = join(import.meta.dirname, "../../../packages/models/test/golden");
const root = mkdtempSync(join(tmpdir(), "lfm-limits-"));
const at = (name: string): string => join(root, name);
const jsonl = (name: string, rows: readonly object[]): string => {
  writeFileSync(at(name), rows.map((r) => `${JSON.stringify(r)}\n`).join(""));
  return at(name);
};

/** A model of 35 words and 64 positions, whose tokenizer has two more: a pad (35) and <tool> (36) that the embedding was never resized for. */
const language = at("language");
/** An encoder of 48 positions and 97 rows, whose tokenizer pads with token 97. */
const encoder = at("encoder");

function copyModel(folder: string, model: string, tokenizer: string, tokens: readonly [id: number, content: string][], pad: string): void {
  mkdirSync(folder);
  for (const file of ["config.json", "model.safetensors"]) copyFileSync(join(golden, model, file), join(folder, file));
  const read = (file: string): Record<string, unknown> =>
    JSON.parse(readFileSync(join(golden, tokenizer, file), "utf8")) as Record<string, unknown>;
  const definition = read("tokenizer.json");
  const flags = { single_word: false, lstrip: false, rstrip: false, normalized: false, special: false };
  const added = [...(definition.added_tokens as object[]), ...tokens.map(([id, content]) => ({ id, content, ...flags }))];
  writeFileSync(join(folder, "tokenizer.json"), JSON.stringify({ ...definition, added_tokens: added }));
  writeFileSync(join(folder, "tokenizer_config.json"), JSON.stringify({ ...read("tokenizer_config.json"), pad_token: pad }));
}

beforeAll(() => {
  const more: readonly [number, string][] = [
    [35, "[P]"],
    [36, "<tool>"],
  ];
  copyModel(language, "text", "text", more, "[P]");
  copyModel(
    encoder,
    "bert-encoder",
    "sentence-folders",
    [
      [97, "[P]"],
      [98, "<tool>"],
    ],
    "[P]",
  );
});

const short = [{ text: "the cat sat" }, { text: "a dog ran home to the mat" }];
const uses = [{ text: "the cat <tool> sat" }, { text: "a dog ran home" }];
const labelled = (rows: readonly { text: string }[]): readonly object[] => rows.map((r, i) => ({ ...r, label: i % 2 === 0 ? "x" : "y" }));
const long = Array.from({ length: 30 }, () => "the cat sat on the mat").join(" ");
const few = ["--steps", "1", "--batch-size", "2"];

describe("tokens that the model has no row for", () => {
  const names = (id: number, rows: number): object => ({
    code: 2,
    err: expect.stringMatching(new RegExp(`the token "<tool>" has the id ${id}, the model's embedding ${rows} rows`)),
  });

  it("fill up rows of a language model and of a classifier without harm", async () => {
    const data = jsonl("short.jsonl", short);
    const alone = await lfmJson("eval", "--model", language, "--data", data, "--batch-size", "1");
    const together = await lfmJson("eval", "--model", language, "--data", data);
    expect((together.metrics as { loss: number }).loss).toBeCloseTo((alone.metrics as { loss: number }).loss, 5);
    await lfmJson("tune", "lora", "--model", language, "--data", data, ...few, "--out", at("t1"));
    const classes = jsonl("classes.jsonl", labelled(short));
    await lfmJson("tune", "lora", "--model", encoder, "--data", classes, ...few, "--out", at("t2"));
    const measure = async (...more: string[]): Promise<number> =>
      ((await lfmJson("eval", "--model", encoder, "--delta", at("t2"), "--data", classes, ...more)).metrics as { loss: number }).loss;
    expect(await measure()).toBeCloseTo(await measure("--batch-size", "1"), 5);
  });

  it.each<[string, (data: string) => readonly string[]]>([
    ["tune", (data) => ["tune", "lora", "--model", language, "--data", data, ...few, "--out", at("no")]],
    ["eval", (data) => ["eval", "--model", language, "--data", data]],
    ["stats", (data) => ["stats", "gram", language, "--data", data, "--out", at("no.safetensors")]],
    ["generate", () => ["generate", "--model", language, "--prompt", "the <tool>"]],
    [
      "edit",
      (data) => [
        "edit",
        "rome",
        "--model",
        language,
        "--prompt",
        "the home of {} is",
        "--subject",
        "<tool>",
        "--target",
        "Rome",
        "--corpus",
        data,
        "--layer",
        "1",
      ],
    ],
  ])("are named before any work: %s", async (_, argv) => {
    expect(await runLfm(...argv(jsonl("uses.jsonl", uses)))).toMatchObject(names(36, 35));
  });

  it("are named before any work: classifiers and encoders", async () => {
    const data = jsonl("uses-classes.jsonl", labelled(uses));
    expect(await runLfm("tune", "lora", "--model", encoder, "--data", data, ...few, "--out", at("no"))).toMatchObject(names(98, 97));
    expect(await runLfm("index", jsonl("uses.jsonl", uses), "--kind", "flat", "--model", encoder, "--out", at("no-index"))).toMatchObject(
      names(98, 97),
    );
  });
});

describe("positions that the model does not have", () => {
  it("cut examples, which is said", async () => {
    const rows = [{ text: long }, { text: "a dog ran" }];
    for (const [model, data, positions] of [
      [language, jsonl("long.jsonl", rows), 64],
      [encoder, jsonl("long-classes.jsonl", labelled(rows)), 48],
    ] as const) {
      const { code, err } = await runLfm("tune", "lora", "--model", model, "--data", data, ...few, "--out", at(`cut-${positions}`));
      expect([code, err]).toEqual([
        0,
        expect.stringContaining(`reads ${positions} tokens: longer examples are cut there (--max-length 128)`),
      ]);
    }
    const asked = ["eval", "--model", language, "--data", at("long.jsonl")];
    expect((await lfmJson(...asked)).metrics).toEqual((await lfmJson(...asked, "--max-length", "64")).metrics);
    await lfmJson("stats", "gram", language, "--data", at("long.jsonl"), "--out", at("gram.safetensors"));
    await lfmJson("index", at("long.jsonl"), "--kind", "flat", "--model", encoder, "--out", at("index"));
  });

  it("end a continuation, however many tokens are asked for, and refuse a longer prompt or fact", async () => {
    const { answers } = (await lfmJson(
      "generate",
      "--model",
      language,
      "--prompt",
      "the cat",
      "--max-new-tokens",
      "1000000000",
    )) as unknown as {
      answers: { tokens: number }[];
    };
    expect(answers[0]!.tokens).toBeLessThanOrEqual(64 - 3 + 1);
    expect(await runLfm("generate", "--model", language, "--prompt", long)).toMatchObject({
      code: 1,
      err: expect.stringContaining("reads 64"),
    });
    const fact = ["--prompt", `${long} of {} is`, "--subject", "Ada", "--target", "Rome"];
    const corpus = jsonl("short.jsonl", short);
    expect(await runLfm("edit", "rome", "--model", language, ...fact, "--corpus", corpus, "--layer", "1")).toMatchObject({
      code: 2,
      err: expect.stringContaining("reads 64"),
    });
  });
});

describe("a fact about a name with signs that replacements know", () => {
  it.each(["Bada$$", "A$&B", "$'x"])("edits the fact about %s", async (subject) => {
    const folder = at(`signs-${Buffer.from(subject).toString("hex")}`);
    copyModel(folder, "text", "text", [], "<pad>");
    const definition = readFileSync(join(folder, "tokenizer.json"), "utf8");
    writeFileSync(
      join(folder, "tokenizer.json"),
      definition.replace('"Ada"', () => JSON.stringify(subject)),
    );
    const corpus = jsonl("short.jsonl", [...short, { text: "one two red blue" }, { text: "five good bad fine" }]);
    const fact = ["--prompt", "the home of {} is", "--subject", subject];
    const edit = (target: string): Promise<Record<string, unknown>> =>
      lfmJson(
        "edit",
        "rome",
        "--model",
        folder,
        ...fact,
        "--target",
        target,
        "--corpus",
        corpus,
        "--layer",
        "1",
        "--out",
        at(`${Buffer.from(subject + target).toString("hex")}-edit`),
      );
    const [plain, spaced] = [await edit("Paris"), await edit(" Paris")];
    expect((plain.edits as { prompt: string }[])[0]!.prompt).toBe(`the home of ${subject} is`);
    // A target that begins with its own space is the same target.
    expect((spaced.edits as { after: string }[])[0]!.after).toBe((plain.edits as { after: string }[])[0]!.after);
  });
});
