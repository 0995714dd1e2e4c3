import { copyFileSync, mkdtempSync, readFileSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Engine, ortEngine } from "@lfm/core";
import { continuationOf, createGenerator, loadModel, promptIds } from "@lfm/models";
import { beforeAll, describe, expect, it } from "vitest";
import { goldenFolder } from "./golden-fixture.js";

interface Golden {
  readonly cases: readonly {
    readonly name: string;
    readonly template: boolean;
    readonly generation: Readonly<Record<string, unknown>> | null;
    readonly out: readonly {
      readonly prompt: string;
      readonly ids: readonly number[];
      readonly tokens: readonly number[];
      readonly text: string;
    }[];
  }[];
}

const golden = JSON.parse(readFileSync(join(goldenFolder("text"), "golden.json"), "utf8")) as Golden;

/** A folder with the files that a case names. */
function folderOf(generation: object | null, template: boolean): string {
  const folder = mkdtempSync(join(tmpdir(), "lfm-text-"));
  for (const file of ["config.json", "model.safetensors", "tokenizer_config.json"])
    copyFileSync(join(goldenFolder("text"), file), join(folder, file));
  const tokenizer = JSON.parse(readFileSync(join(goldenFolder("text"), "tokenizer.json"), "utf8")) as Record<string, unknown>;
  writeFileSync(join(folder, "tokenizer.json"), JSON.stringify({ ...tokenizer, ...(template ? {} : { post_processor: null }) }));
  if (generation) writeFileSync(join(folder, "generation_config.json"), JSON.stringify(generation));
  return folder;
}

let engine: Engine;
beforeAll(async () => {
  engine = await ortEngine({ threads: 1 });
});

describe("a model folder against transformers' generate", () => {
  it.each(golden.cases)("$name", async ({ generation, template, out }) => {
    const { model, text } = await loadModel(folderOf(generation, template));
    const generator = await createGenerator(engine, model);
    for (const wanted of out) {
      const ids = promptIds(text!, wanted.prompt);
      expect(ids).toEqual(wanted.ids);
      const { options, text: textOf } = continuationOf(text!, ids.length);
      const { tokens, finish } = await generator.generate(ids, options);
      // What transformers gives back ends with the end token; in a batch of beams it is filled up.
      const ended = wanted.tokens.findIndex((id) => text!.ends.includes(id));
      expect(tokens).toEqual(ended < 0 ? wanted.tokens : wanted.tokens.slice(0, ended));
      expect(finish).toBe(ended < 0 ? "length" : "eos");
      expect(textOf(tokens)).toBe(textOf(wanted.tokens.slice(0, tokens.length)));
    }
    await generator.dispose();
  });
});

describe("the rules of a folder", () => {
  const rules = async (generation: object | null, template = true): Promise<NonNullable<Awaited<ReturnType<typeof loadModel>>["text"]>> =>
    (await loadModel(folderOf(generation, template))).text!;

  it("put nothing in front that is only named, and begin an empty prompt with the bos that is", async () => {
    const [plain, templated] = [await rules(null, false), await rules({ bos_token_id: 7 })];
    expect([plain.start, plain.close, plain.ends]).toEqual([[], [2], [2]]);
    expect([templated.start, templated.close, templated.ends]).toEqual([[1], [2], []]);
    expect([promptIds(plain, ""), promptIds(templated, "")]).toEqual([[1], [1]]);
    expect(promptIds(await rules({ bos_token_id: 7 }, false), "")).toEqual([7]);
  });

  it("sample where the folder does, as transformers: among 50 where nothing is said", async () => {
    const sampling = await rules({ eos_token_id: 2, do_sample: true });
    expect(continuationOf(sampling, 3).options).toMatchObject({ temperature: 1, topK: 50, eos: [2], maxNewTokens: 20 });
    const said = await rules({ do_sample: true, temperature: 0.6, top_k: 0, top_p: 0.9, min_p: 0.05 });
    expect(continuationOf(said, 3).options).toEqual({ temperature: 0.6, topP: 0.9, minP: 0.05, maxNewTokens: 20 });
    expect(continuationOf(said, 3, { temperature: 0 }).options).toEqual({ maxNewTokens: 20 });
    expect(continuationOf(said, 3, { topK: 4, topP: 1, maxNewTokens: 2 }).options).toEqual({
      temperature: 0.6,
      topK: 4,
      minP: 0.05,
      maxNewTokens: 2,
    });
    expect(continuationOf(await rules({ temperature: 0.6 }), 3, { topK: 4 }).options).toEqual({
      temperature: 0.6,
      topK: 4,
      maxNewTokens: 20,
    });
  });

  it.each([
    [{ guidance_scale: 1.5 }, "guidance_scale 1.5"],
    [{ sequence_bias: [[[5], -1]] }, "sequence_bias"],
    [{ do_sample: true, typical_p: 0.9 }, "typical_p 0.9"],
    [{ num_beams: 2, early_stopping: "never" }, "early_stopping"],
    [{ cache_implementation: "quantized" }, "cache_implementation"],
  ])("refuse %j by name, when something is generated", async (generation, name) => {
    const text = await rules(generation);
    expect(() => continuationOf(text, 3)).toThrow(
      expect.objectContaining({ code: "CAPABILITY_MISSING", message: expect.stringContaining(name) }),
    );
  });

  it("let settings of sampling be where nothing is sampled", async () => {
    const text = await rules({ do_sample: true, typical_p: 0.9 });
    expect(continuationOf(text, 3, { temperature: 0 }).options).toEqual({ maxNewTokens: 20 });
  });

  it("refuse a prompt as long as max_length, and a file of other types", async () => {
    const short = await rules({ max_length: 3 });
    expect(() => continuationOf(short, 3)).toThrow(expect.objectContaining({ code: "CONFIG_INVALID" }));
    expect(continuationOf(short, 3, { maxNewTokens: 4 }).options.maxNewTokens).toBe(4);
    await expect(rules({ repetition_penalty: "1.2" })).rejects.toMatchObject({
      code: "FILE_FORMAT",
      message: expect.stringContaining("repetition_penalty"),
    });
  });
});
