import { copyFileSync, mkdirSync, mkdtempSync, readFileSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Engine, loadWeight, ortEngine } from "@lfm/core";
import { readSafetensors } from "@lfm/formats";
import { createEncoder, loadModel, readSentenceConfig } from "@lfm/models";
import { beforeAll, describe, expect, it } from "vitest";
import { goldenFolder, maxDifference } from "./golden-fixture.js";

interface Files {
  readonly pooling: Readonly<Record<string, unknown>>;
  readonly transformer: Readonly<Record<string, unknown>>;
  readonly whole: Readonly<Record<string, unknown>>;
  readonly normalise: boolean;
}
interface Golden {
  readonly texts: readonly string[];
  readonly cases: readonly (Files & { readonly name: string })[];
}

const source = goldenFolder("sentence-folders");
const { texts, cases } = JSON.parse(readFileSync(join(source, "golden.json"), "utf8")) as Golden;
const { tensors } = readSafetensors(join(source, "golden.safetensors"));

function folderOf({ pooling, transformer, whole, normalise }: Files): string {
  const folder = mkdtempSync(join(tmpdir(), "lfm-sentence-"));
  for (const file of ["config.json", "model.safetensors"]) copyFileSync(join(goldenFolder("bert-encoder"), file), join(folder, file));
  for (const file of ["tokenizer.json", "tokenizer_config.json"]) copyFileSync(join(source, file), join(folder, file));
  const kinds = ["Transformer", "Pooling", ...(normalise ? ["Normalize"] : [])];
  const paths = ["", "1_Pooling", "2_Normalize"];
  const write = (name: string, value: unknown): void => writeFileSync(join(folder, name), JSON.stringify(value));
  write(
    "modules.json",
    kinds.map((kind, i) => ({ idx: i, name: String(i), path: paths[i], type: `sentence_transformers.models.${kind}` })),
  );
  mkdirSync(join(folder, "1_Pooling"));
  write("1_Pooling/config.json", { word_embedding_dimension: 32, ...pooling });
  write("sentence_bert_config.json", transformer);
  write("config_sentence_transformers.json", whole);
  return folder;
}

let engine: Engine;
beforeAll(async () => {
  engine = await ortEngine({ threads: 1 });
});

describe("a folder against sentence-transformers", () => {
  it.each(cases.map((files, i) => [files.name, i, files] as const))("%s", async (_, i, files) => {
    const { model, tokenizer, sentence } = await loadModel(folderOf(files));
    const encoder = await createEncoder(engine, model, tokenizer!, sentence);
    for (const role of ["plain", "query", "document"] as const) {
      const wanted = loadWeight(tensors[`${i}/out/${role}`]!);
      const found = await encoder.encode(texts, role === "plain" ? {} : { role });
      expect(found.shape).toEqual(wanted.shape);
      expect(encoder.dimension).toBe(wanted.shape[1]);
      expect(maxDifference(found, wanted), role).toBeLessThan(1e-4);
    }
    await encoder.dispose();
  });
});

describe("what a sentence folder may not say", () => {
  const plain: Files = { pooling: {}, transformer: {}, whole: {}, normalise: false };
  const said = (files: Partial<Files>): unknown => readSentenceConfig(folderOf({ ...plain, ...files }));

  it.each<[string, Partial<Files>, string]>([
    ["an unknown pooling", { pooling: { pooling_mode: "attention" } }, '"attention"'],
    ["an unknown switch", { pooling: { pooling_mode_attention: true } }, '"pooling_mode_attention"'],
    [
      "a prompt whose tokens are not pooled",
      { pooling: { include_prompt: false }, whole: { prompts: { query: "q: " } } },
      "include_prompt",
    ],
    ["a default prompt that is none", { whole: { prompts: { query: "q: " }, default_prompt_name: "doc" } }, '"doc"'],
  ])("%s", (_, files, name) => {
    expect(() => said(files)).toThrow(expect.objectContaining({ code: "CONFIG_INVALID", message: expect.stringContaining(name) }));
  });

  it("modules that lie elsewhere", () => {
    const folder = folderOf({ pooling: {}, transformer: {}, whole: {}, normalise: false });
    for (const path of ["../1_Pooling", "/etc", "a/../../b", "a\\b"]) {
      writeFileSync(join(folder, "modules.json"), JSON.stringify([{ path, type: "sentence_transformers.models.Pooling" }]));
      expect(() => readSentenceConfig(folder), path).toThrow(expect.objectContaining({ code: "CONFIG_INVALID" }));
    }
  });

  it("files of other types", () => {
    expect(() => said({ transformer: { max_seq_length: "6" } })).toThrow(expect.objectContaining({ code: "FILE_FORMAT" }));
  });

  it("puts the default prompt before all where none is for queries or documents", () => {
    expect(said({ whole: { prompts: { common: "c: " }, default_prompt_name: "common" } })).toMatchObject({
      prompts: { query: "c: ", document: "c: " },
    });
    expect(said({ whole: { prompts: { query: "", passage: "p: " } } })).toMatchObject({ prompts: { query: "", document: "p: " } });
  });
});
