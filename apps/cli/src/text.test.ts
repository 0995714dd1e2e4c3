import { copyFileSync, mkdirSync, mkdtempSync, readFileSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { lfmJson, runLfm } from "../test/run-lfm.js";

interface Golden {
  readonly losses: { readonly plain: number; readonly template: number };
  readonly cases: readonly {
    readonly name: string;
    readonly template: boolean;
    readonly generation: Readonly<Record<string, unknown>> | null;
    readonly out: readonly { readonly prompt: string; readonly text: string }[];
  }[];
}

const source = join(import.meta.dirname, "../../../packages/models/test/golden/text");
const golden = JSON.parse(readFileSync(join(source, "golden.json"), "utf8")) as Golden;
const root = mkdtempSync(join(tmpdir(), "lfm-cli-text-"));
let made = 0;

function modelFolder(generation: object | null, template: boolean): string {
  const folder = join(root, `m${++made}`);
  mkdirSync(folder);
  for (const file of ["config.json", "model.safetensors", "tokenizer_config.json"]) copyFileSync(join(source, file), join(folder, file));
  const tokenizer = JSON.parse(readFileSync(join(source, "tokenizer.json"), "utf8")) as Record<string, unknown>;
  writeFileSync(join(folder, "tokenizer.json"), JSON.stringify({ ...tokenizer, ...(template ? {} : { post_processor: null }) }));
  if (generation) writeFileSync(join(folder, "generation_config.json"), JSON.stringify(generation));
  return folder;
}

const completions = async (...argv: string[]): Promise<readonly string[]> =>
  ((await lfmJson("generate", ...argv)).answers as { completion: string }[]).map((a) => a.completion);

describe("lfm generate on a model folder", () => {
  it.each(golden.cases)("says what transformers' generate says: $name", async ({ generation, template, out }) => {
    const prompts = out.flatMap(({ prompt }) => ["--prompt", prompt]);
    expect(await completions("--model", modelFolder(generation, template), ...prompts)).toEqual(out.map(({ text }) => text));
  });

  it("lets flags override the folder", async () => {
    const [plain, penalty] = ["bos is put in front", "repetition penalty"].map((name) => golden.cases.find((c) => c.name === name)!);
    const [{ prompt, text }, said] = [plain!.out[0]!, penalty!.out[0]!.text];
    const folder = modelFolder({ eos_token_id: 2, repetition_penalty: 1.4, do_sample: true, max_new_tokens: 3 }, true);
    const ask = ["--model", folder, "--prompt", prompt];
    const flags = ["--temperature", "0", "--max-new-tokens", "20"];
    expect(await completions(...ask, ...flags, "--repetition-penalty", "1")).toEqual([text]);
    expect(await completions(...ask, ...flags)).toEqual([said]);
    const seeds = await Promise.all(["1", "2", "3", "1"].map((seed) => completions(...ask, "--seed", seed)));
    expect(new Set(seeds.map(String)).size).toBeGreaterThan(1);
    expect(seeds[3]).toEqual(seeds[0]);
    expect(seeds[0]![0]!.split(" ").length).toBeLessThanOrEqual(3);
  });

  it("refuses by name what the folder wants and nobody here knows", async () => {
    const folder = modelFolder({ guidance_scale: 2 }, true);
    const { code, err } = await runLfm("generate", "--model", folder, "--prompt", "the");
    expect([code, err]).toEqual([2, expect.stringContaining("guidance_scale 2")]);
    expect(err).toContain("hint: take");
  });

  it("ends before a stop text, though it falls inside a token", async () => {
    const { out } = golden.cases.find((c) => c.name === "bos is put in front")!;
    // "home on blue Rome …": inside words, across words, and a text that does not come.
    const [prompt, folder] = [out[2]!.prompt, modelFolder(null, true)];
    const stopped = (...stops: string[]): Promise<readonly string[]> =>
      completions("--model", folder, "--prompt", prompt, ...stops.flatMap((s) => ["--stop", s]));
    expect(await stopped("lu")).toEqual(["home on b"]);
    expect(await stopped("e R", "zebra")).toEqual(["home on blu"]);
    expect(await stopped("Rome", "on")).toEqual(["home "]);
    expect(await stopped("zebra")).toEqual([out[2]!.text]);
  });

  it("holds a conversation by the folder's template, and says where there is none", async () => {
    const { out } = golden.cases.find((c) => c.name === "bos is put in front")!;
    const [folder, bare] = [modelFolder(null, true), modelFolder(null, true)];
    writeFileSync(
      join(folder, "chat_template.jinja"),
      "{{ bos_token }}{% for m in messages %} {{ m.content }}{% endfor %}{% if add_generation_prompt %} sat on{% endif %}",
    );
    const ask = ["--model", folder, "--chat", "--prompt", "cat"];
    expect(await completions(...ask, "--system", "the")).toEqual([out[0]!.text]);
    expect(await completions(...ask)).not.toEqual([out[0]!.text]);
    expect(await runLfm("generate", "--model", bare, "--chat", "--prompt", "cat")).toMatchObject({
      code: 2,
      err: expect.stringContaining("chat_template.jinja"),
    });
    expect(await runLfm("generate", "--model", folder, "--system", "the", "--prompt", "cat")).toMatchObject({ code: 2 });
  });

  it("shows its progress to the end", async () => {
    const { err } = await runLfm("generate", "--model", modelFolder(null, true), "--prompt", "the cat", "--prompt", "a dog");
    expect(err.trimEnd().split("\n").at(-1)).toContain("40/40 token");
  });
});

describe("lfm eval on a model folder", () => {
  it.each(["plain", "template"] as const)("measures what transformers measures: %s", async (kind) => {
    const data = join(root, "texts.jsonl");
    writeFileSync(data, golden.cases[0]!.out.map(({ prompt }) => `${JSON.stringify({ text: prompt })}\n`).join(""));
    const { metrics } = await lfmJson("eval", "--model", modelFolder(null, kind === "template"), "--data", data);
    expect(Math.abs((metrics as { loss: number }).loss - golden.losses[kind])).toBeLessThan(1e-4);
  });
});
