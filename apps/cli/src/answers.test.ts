import { copyFileSync, cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { loadWeight } from "@lfm/core";
import { readPeftAdapter, readSafetensors } from "@lfm/formats";
import { afterAll, describe, expect, it } from "vitest";
import { lfmJson, runLfm } from "../test/run-lfm.js";

/** Encoder-decoders from the command line: prompts are what the encoder reads, completions what the decoder answers. */
const scratch = mkdtempSync(join(tmpdir(), "lfm-answers-"));
afterAll(() => rmSync(scratch, { recursive: true }));
const packages = join(import.meta.dirname, "../../../packages");
const words = Array.from({ length: 97 }, (_, i) => (i === 1 ? "</s>" : `w${i}`));
const said = (ids: readonly number[]): string => ids.map((id) => words[id]!).join(" ");

/** A fixture as a folder with words: token i is "wi", and every text ends with the token 1, as T5's do. */
function folderOf(kind: string, name: string, changes: Readonly<Record<string, unknown>> = {}): string {
  const folder = join(scratch, name);
  mkdirSync(folder);
  const from = join(packages, "models/test/golden", kind);
  copyFileSync(join(from, "model.safetensors"), join(folder, "model.safetensors"));
  const config = JSON.parse(readFileSync(join(from, "config.json"), "utf8")) as Record<string, unknown>;
  writeFileSync(join(folder, "config.json"), JSON.stringify({ ...config, ...changes }));
  const end = { id: "</s>", type_id: 0 };
  const tokenizer = {
    version: "1.0",
    truncation: null,
    padding: null,
    added_tokens: [{ id: 1, content: "</s>", single_word: false, lstrip: false, rstrip: false, normalized: false, special: true }],
    normalizer: null,
    pre_tokenizer: { type: "WhitespaceSplit" },
    post_processor: {
      type: "TemplateProcessing",
      single: [{ Sequence: { id: "A", type_id: 0 } }, { SpecialToken: end }],
      pair: [{ Sequence: { id: "A", type_id: 0 } }, { Sequence: { id: "B", type_id: 0 } }, { SpecialToken: end }],
      special_tokens: { "</s>": { id: "</s>", ids: [1], tokens: ["</s>"] } },
    },
    decoder: null,
    model: { type: "WordLevel", vocab: Object.fromEntries(words.map((w, i) => [w, i])), unk_token: "w0" },
  };
  writeFileSync(join(folder, "tokenizer.json"), JSON.stringify(tokenizer));
  writeFileSync(join(folder, "tokenizer_config.json"), JSON.stringify({ tokenizer_class: "PreTrainedTokenizerFast", eos_token: "</s>" }));
  return folder;
}

function ids(tensors: ReturnType<typeof readSafetensors>["tensors"], name: string): number[][] {
  const { shape, data } = loadWeight(tensors[name]!);
  const [rows, width] = shape as readonly [number, number];
  return Array.from({ length: rows }, (_, i) => Array.from(data.slice(i * width, (i + 1) * width), Number));
}

describe.each(["t5", "t5-gated"])("%s", (kind) => {
  const golden = join(packages, "tuning/test/golden", kind);
  const { tensors } = readSafetensors(join(golden, "golden.safetensors"));
  const folder = folderOf(kind, kind);
  const answered = ids(tensors, "rows/in/input_ids").map((row, i) => ({
    prompt: said(row.filter((id) => id > 1)),
    completion: said(ids(tensors, "rows/in/labels")[i]!.filter((id) => id > 1)),
  }));
  const data = join(scratch, `${kind}.jsonl`);
  writeFileSync(data, answered.map((row) => JSON.stringify(row)).join("\n"));

  it("answers as transformers, one prompt or many, greedily and by beams", async () => {
    const found = readSafetensors(join(packages, "models/test/golden/t5-answers/golden.safetensors")).tensors;
    const [source] = ids(found, "in/tokens");
    // It ends as a text does: the tokenizer puts that token there.
    const prompt = said(source!.slice(0, -1));
    const ask = (...more: string[]): string[] => ["--model", folder, "--prompt", prompt, "--max-new-tokens", "14", ...more];
    const { answers } = await lfmJson("generate", ...ask("--prompt", "w5 w6"));
    const asked = join(scratch, `${kind}-asked.jsonl`);
    writeFileSync(asked, [prompt, "w5 w6"].map((p) => JSON.stringify({ prompt: p })).join("\n"));
    const { predictions } = await lfmJson("predict", "--model", folder, "--data", asked, "--max-new-tokens", "14");
    const texts = (answers as { completion: string }[]).map((a) => a.completion);
    expect((predictions as { completion: string }[]).map((p) => p.completion)).toEqual(texts);
    const wanted = (id: string): string => {
      const answer = ids(found, `${kind}/out/${id}`)[0]!;
      return said(answer.slice(0, answer.includes(1) ? answer.indexOf(1) : undefined));
    };
    expect(texts[0]).toBe(wanted("config"));
    const byBeams = await lfmJson("generate", ...ask("--beams", "3"));
    expect((byBeams.answers as { completion: string }[])[0]!.completion).toBe(wanted("config-beams"));
  });

  it("lfm tune lora goes on from PEFT's adapter with PEFT's losses, and PEFT's form is written", async () => {
    const { losses, steps, lr, weightDecay } = JSON.parse(readFileSync(join(golden, "golden.json"), "utf8")) as {
      readonly losses: Readonly<Record<string, readonly number[]>>;
      readonly steps: number;
      readonly lr: number;
      readonly weightDecay: number;
    };
    const adapter = join(scratch, `${kind}-peft`);
    cpSync(join(golden, "lora"), adapter, { recursive: true });
    const out = join(scratch, `${kind}-lora`);
    const training = ["--steps", String(steps), "--lr", String(lr), "--weight-decay", String(weightDecay), "--no-model-dropout"];
    const common = ["--model", folder, "--data", data];
    await lfmJson(
      "tune",
      "lora",
      ...common,
      "--target-modules",
      "q,v",
      "--r",
      "3",
      "--lora-alpha",
      "6",
      ...training,
      "--from",
      adapter,
      "--out",
      out,
    );
    const { curves } = JSON.parse(readFileSync(join(out, "report.json"), "utf8")) as { curves: { loss: [number, number][] } };
    const ours = curves.loss.map(([, loss]) => loss);
    expect(Math.max(...losses.rows!.map((loss, i) => Math.abs(loss - ours[i]!)))).toBeLessThan(1e-4);
    const [theirs, written] = [readPeftAdapter(adapter), readPeftAdapter(out)];
    expect(written.config).toMatchObject({ peft_type: "LORA", task_type: "SEQ_2_SEQ_LM" });
    expect(Object.keys(written.tensors).sort()).toEqual(Object.keys(theirs.tensors).sort());
    const before = (await lfmJson("eval", ...common, "--delta", adapter)) as { metrics: { loss: number } };
    expect(Math.abs(before.metrics.loss - losses.rows![0]!)).toBeLessThan(1e-4);
    const after = (await lfmJson("eval", ...common, "--delta", out)) as { metrics: { loss: number } };
    expect(after.metrics.loss).toBeLessThan(before.metrics.loss);
  });
});

describe("every method that fits an encoder-decoder", () => {
  const folder = folderOf("t5-gated", "methods");
  const data = join(scratch, "methods.jsonl");
  const rows = Array.from({ length: 6 }, (_, i) => ({ prompt: `w${i + 2} w${i + 9}`, completion: `w${i + 20} w${i + 30}` }));
  writeFileSync(data, rows.map((row) => JSON.stringify(row)).join("\n"));

  it.each(["full", "ia3", "prompt"])("lfm tune %s learns, and what it saved is read again", async (method) => {
    const out = join(scratch, method);
    const common = ["--model", folder, "--data", data];
    const lr = method === "full" ? "0.01" : "0.1";
    const { valid } = await lfmJson("tune", method, ...common, "--valid", data, "--steps", "8", "--lr", lr, "--out", out);
    const { before, after } = valid as Record<"before" | "after", { readonly loss: number }>;
    expect(after.loss).toBeLessThan(before.loss - 0.1);
    const measured = (await lfmJson("eval", ...common, "--delta", out)) as { metrics: object };
    expect(measured.metrics).toEqual(after);
  });
});

describe("what an encoder-decoder cannot be asked", () => {
  const folder = folderOf("t5", "asked");
  const text = join(scratch, "text.jsonl");
  writeFileSync(text, JSON.stringify({ text: "w5 w6" }));
  const rows = join(scratch, "rows.jsonl");
  writeFileSync(rows, JSON.stringify({ prompt: "w5 w6", completion: "w7" }));

  it.each([
    [
      "learned from text alone",
      ["tune", "lora", "--data", text, "--steps", "1", "--out", join(scratch, "no")],
      "learns from prompt + completion",
    ],
    ["perplexity", ["eval", "--perplexity", "--data", text], "no language model of running text"],
    ["Gram matrices", ["stats", "gram", folder, "--data", rows, "--out", join(scratch, "no")], "has an encoder and a decoder"],
  ])("%s: refused by name", async (_what, argv, message) => {
    const model = argv[0] === "stats" ? [] : ["--model", folder];
    const { code, err } = await runLfm(...argv, ...model);
    expect([code, err]).toEqual([expect.any(Number), expect.stringContaining(message)]);
    expect(code).toBeGreaterThan(1);
  });

  it("a config that names no token to begin with: refused by training, unless the folder's generation_config.json does", async () => {
    const silent = folderOf("t5", "silent", { decoder_start_token_id: null });
    const learn = ["tune", "lora", "--model", silent, "--data", rows, "--steps", "1"];
    const refused = await runLfm(...learn, "--out", join(scratch, "no"));
    expect([refused.code, refused.err]).toEqual([2, expect.stringContaining("decoder_start_token_id")]);
    writeFileSync(join(silent, "generation_config.json"), JSON.stringify({ decoder_start_token_id: 0 }));
    expect((await runLfm(...learn, "--out", join(scratch, "yes"))).code).toBe(0);
  });
});
