import { mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { isLfmError } from "@lfm/core";
import { afterAll, expect, it } from "vitest";
import { copyTokenizer, readModelFolder } from "./model-folder.js";
import { writeSafetensors } from "./safetensors/write.js";
import { loadTokenizer } from "./tokenizer/load-tokenizer.js";

const scratch = mkdtempSync(join(tmpdir(), "lfm-folder-"));
afterAll(() => rmSync(scratch, { recursive: true }));
const tokenizer = join(import.meta.dirname, "../test/golden/wordpiece");

it("opens a Hugging Face folder, and copies its tokenizer", async () => {
  const folder = join(scratch, "model");
  expect(copyTokenizer(tokenizer, folder)).toEqual(["tokenizer.json", "tokenizer_config.json"]);
  expect((await loadTokenizer(folder)).encode("model").ids).toEqual((await loadTokenizer(tokenizer)).encode("model").ids);
  writeFileSync(join(folder, "config.json"), '{"model_type":"llama"}');
  writeFileSync(join(folder, "generation_config.json"), '{"eos_token_id":2}');
  await writeSafetensors(join(folder, "model.safetensors"), { w: { dtype: "f32", shape: [2], data: Float32Array.of(1, 2) } });
  const read = readModelFolder(folder);
  expect([read.config, read.generationConfig, read.tokenizerFiles, Object.keys(read.weights)]).toEqual([
    { model_type: "llama" },
    { eos_token_id: 2 },
    ["tokenizer.json", "tokenizer_config.json"],
    ["w"],
  ]);
  expect(readdirSync(folder).length).toBe(5);
});

it("says what a folder lacks", () => {
  const code = (): unknown => {
    try {
      return readModelFolder(scratch);
    } catch (error) {
      return isLfmError(error) ? error.code : error;
    }
  };
  expect(code()).toBe("FILE_IO");
  writeFileSync(join(scratch, "config.json"), "{}");
  writeFileSync(join(scratch, "pytorch_model.bin"), "pickle");
  expect(code()).toBe("FILE_FORMAT");
});
