import { copyFileSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";

const golden = join(import.meta.dirname, "../../../packages/models/test/golden/text");

/**
 * A language model of 35 words, two layers and 64 positions, as a folder: the cat sat on the home of Ada, Bo or Cy is Paris, Rome, Oslo, red …
 * @param renamed words that its tokenizer has other ones for
 */
export function writeWordsModel(folder: string, renamed: Readonly<Record<string, string>> = {}): void {
  mkdirSync(folder, { recursive: true });
  for (const file of ["config.json", "model.safetensors", "tokenizer_config.json"]) copyFileSync(join(golden, file), join(folder, file));
  const definition = readFileSync(join(golden, "tokenizer.json"), "utf8");
  const text = Object.entries(renamed).reduce((all, [from, to]) => all.replace(JSON.stringify(from), () => JSON.stringify(to)), definition);
  writeFileSync(join(folder, "tokenizer.json"), text);
}
