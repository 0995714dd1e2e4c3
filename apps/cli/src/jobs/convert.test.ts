import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { lfmJson, runLfm } from "../../test/run-lfm.js";

const goldens = join(import.meta.dirname, "../../../../packages");
const llama = join(goldens, "models/test/golden/gguf/llama.gguf");
const words = join(goldens, "formats/test/golden/gguf-vocabularies/smollm.gguf");
const folder = mkdtempSync(join(tmpdir(), "lfm-convert-"));
const at = (name: string): string => join(folder, name);
afterAll(() => rmSync(folder, { recursive: true }));

describe("lfm convert", () => {
  it("makes a folder of a GGUF file, says what was in it, and replaces it only when asked to", async () => {
    const said = await lfmJson("convert", llama, at("llama"), "--dtype", "bf16");
    expect(said).toMatchObject({
      architecture: "llama",
      dtype: "bf16",
      types: { F32: 7, Q8_0: 4, F16: 4, BF16: 3, Q5_1: 3 },
      out: at("llama"),
    });
    expect(readdirSync(at("llama")).sort()).toEqual(["config.json", "model.safetensors"]);
    expect(JSON.parse(readFileSync(join(at("llama"), "config.json"), "utf8"))).toMatchObject({ dtype: "bfloat16" });
    expect(existsSync(`${at("llama")}.partial`)).toBe(false);
    expect(await runLfm("convert", llama, at("llama"))).toMatchObject({ code: 2, err: expect.stringContaining("is there already") });
    expect(await lfmJson("convert", llama, at("llama"), "--overwrite", "--shard-size", "20KB")).toMatchObject({ dtype: "f32" });
    expect(existsSync(join(at("llama"), "model.safetensors.index.json"))).toBe(true);
  });

  it("brings the tokenizer along, and leaves it out where it is told to", async () => {
    await lfmJson("convert", words, at("words"));
    expect(readdirSync(at("words"))).toEqual(expect.arrayContaining(["tokenizer.json", "tokenizer_config.json", "generation_config.json"]));
    expect(await lfmJson("convert", words, at("bare"), "--no-tokenizer")).toMatchObject({ tokenizer: false });
    expect(readdirSync(at("bare")).sort()).toEqual(["config.json", "model.safetensors"]);
    // Refused by the model's own rules, for there is but an embedding: the folder itself is read.
    expect(await runLfm("generate", "--model", at("words"), "--prompt", "x")).toMatchObject({ err: expect.stringContaining("wpe") });
  });

  it("says what to do with files that are none", async () => {
    mkdirSync(at("pickled"));
    writeFileSync(join(at("pickled"), "pytorch_model.bin"), "");
    writeFileSync(at("notes.txt"), "GGUF?");
    writeFileSync(at("short.gguf"), "GGUF\u0003\0\0\0");
    mkdirSync(at("several"));
    writeFileSync(join(at("several"), "a.gguf"), "");
    const refused = (file: string): Promise<{ code: number; err: string }> => runLfm("convert", file, at("never"));
    expect(await refused(at("pickled"))).toMatchObject({ code: 2, err: expect.stringMatching(/a pickle[\s\S]*save_pretrained\('OUT'\)/) });
    expect(await refused(join(at("pickled"), "pytorch_model.bin"))).toMatchObject({ code: 2, err: expect.stringContaining("a pickle") });
    expect(await refused(at("llama"))).toMatchObject({ code: 2, err: expect.stringContaining("read as it is") });
    expect(await refused(at("notes.txt"))).toMatchObject({ code: 2, err: expect.stringContaining("no GGUF file") });
    expect(await refused(at("several"))).toMatchObject({
      code: 2,
      err: expect.stringContaining(`lfm convert ${at("several")}/a.gguf OUT`),
    });
    expect(await refused(at("missing.gguf"))).toMatchObject({ code: 1, err: expect.stringContaining("does not exist") });
    expect(await refused(at("short.gguf"))).toMatchObject({ code: 1, err: expect.stringContaining("cut short") });
    expect(readdirSync(folder).filter((name) => name.startsWith("never"))).toEqual([]);
  });
});
