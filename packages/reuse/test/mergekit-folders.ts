import { mkdirSync, mkdtempSync, readFileSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { convertFloat, type HostTensor, sizeOf } from "@lfm/core";
import { writeSafetensors } from "@lfm/formats";

export const fixtures = join(import.meta.dirname, "fixtures", "mergekit");

type Shape = readonly number[];

interface TokenizerRecipe {
  readonly type: "WordLevel" | "BPE";
  readonly tokens: readonly string[];
  readonly merges?: readonly string[];
  readonly added: readonly string[];
  readonly appended?: readonly string[];
  readonly chat_template?: string;
}

interface ModelRecipe {
  readonly shapes: string;
  readonly layers: number;
  readonly vocab: number;
  readonly dtype: "F32" | "BF16";
  readonly tokenizer: string;
  readonly config: Readonly<Record<string, unknown>>;
  readonly seed: number;
  readonly without?: readonly string[];
  readonly resize?: Readonly<Record<string, Shape>>;
  readonly strip?: string;
}

interface AdapterRecipe {
  readonly config: Readonly<Record<string, unknown>>;
  readonly layers: Readonly<Record<string, Readonly<Record<string, Shape>>>>;
  readonly embeddings?: Readonly<Record<string, Readonly<Record<string, Shape>>>>;
  readonly saved?: Readonly<Record<string, Shape>>;
  readonly seed: number;
}

interface Recipes {
  readonly shapes: Readonly<Record<string, Readonly<Record<string, readonly (number | "vocab")[]>>>>;
  readonly tokenizers: Readonly<Record<string, TokenizerRecipe>>;
  readonly models: Readonly<Record<string, ModelRecipe>>;
  readonly adapters: Readonly<Record<string, AdapterRecipe>>;
}

/** Writes the folders that models.json describes, with the values that the golden's maker gives them. @returns their folder */
export async function writeModelFolders(): Promise<string> {
  const recipes = JSON.parse(readFileSync(join(fixtures, "models.json"), "utf8")) as Recipes;
  const folder = mkdtempSync(join(tmpdir(), "lfm-mergekit-"));
  for (const [name, recipe] of Object.entries(recipes.models)) await writeModel(join(folder, name), recipe, recipes);
  for (const [name, recipe] of Object.entries(recipes.adapters)) await writeAdapter(join(folder, name), recipe);
  return folder;
}

async function writeModel(folder: string, recipe: ModelRecipe, recipes: Recipes): Promise<void> {
  mkdirSync(folder);
  const shapes: Record<string, Shape> = {};
  for (const [name, shape] of Object.entries(recipes.shapes[recipe.shapes]!))
    for (let i = 0; i < (name.includes("{}") ? recipe.layers : 1); i++)
      shapes[name.replace("{}", String(i))] = shape.map((d) => (d === "vocab" ? recipe.vocab : d));
  for (const name of recipe.without ?? []) delete shapes[name];
  const tensors = filled({ ...shapes, ...recipe.resize }, recipe.seed, 1);
  const strip = recipe.strip ?? "";
  const named = Object.entries(tensors).map(([name, t]) => [
    name.startsWith(strip) ? name.slice(strip.length) : name,
    recipe.dtype === "BF16" ? convertFloat(t, "bf16") : t,
  ]);
  await writeSafetensors(join(folder, "model.safetensors"), Object.fromEntries(named) as Record<string, HostTensor>, {
    metadata: { format: "pt" },
  });
  writeFileSync(join(folder, "config.json"), JSON.stringify(recipe.config));
  writeTokenizer(folder, recipes.tokenizers[recipe.tokenizer]!);
}

async function writeAdapter(folder: string, recipe: AdapterRecipe): Promise<void> {
  mkdirSync(folder);
  const shapes: Record<string, Shape> = { ...recipe.saved };
  for (const [path, parts] of Object.entries(recipe.layers))
    for (const [part, shape] of Object.entries(parts))
      shapes[part === "magnitude" ? `${path}.lora_magnitude_vector` : `${path}.lora_${part}.weight`] = shape;
  for (const [path, parts] of Object.entries(recipe.embeddings ?? {}))
    for (const [part, shape] of Object.entries(parts)) shapes[`${path}.lora_embedding_${part}`] = shape;
  const tensors = Object.entries(filled(shapes, recipe.seed, 1 / 8)).map(([name, t]) => [`base_model.model.${name}`, t] as const);
  await writeSafetensors(join(folder, "adapter_model.safetensors"), Object.fromEntries(tensors), { metadata: { format: "pt" } });
  writeFileSync(join(folder, "adapter_config.json"), JSON.stringify(recipe.config));
}

function filled(shapes: Readonly<Record<string, Shape>>, seed: number, scale: number): Record<string, HostTensor> {
  const tensors = Object.keys(shapes)
    .sort()
    .map((name, k) => {
      const value = (_: unknown, i: number): number => ((((37 * i + 101 * k + 211 * seed) % 257) - 128) / 256) * scale;
      return [name, { dtype: "f32" as const, shape: shapes[name]!, data: Float32Array.from({ length: sizeOf(shapes[name]!) }, value) }];
    });
  return Object.fromEntries(tensors) as Record<string, HostTensor>;
}

function writeTokenizer(folder: string, recipe: TokenizerRecipe): void {
  const flags = { single_word: false, lstrip: false, rstrip: false, normalized: false, special: true };
  const appended = (recipe.appended ?? []).map((content, i) => ({ id: recipe.tokens.length + i, content, ...flags }));
  const added = [...recipe.added.map((content) => ({ id: recipe.tokens.indexOf(content), content, ...flags })), ...appended];
  const vocab = Object.fromEntries(recipe.tokens.map((token, i) => [token, i]));
  const model = { type: recipe.type, vocab, ...(recipe.merges ? { merges: recipe.merges } : { unk_token: "<unk>" }) };
  writeFileSync(join(folder, "tokenizer.json"), JSON.stringify({ version: "1.0", added_tokens: added.sort((a, b) => a.id - b.id), model }));
  const template = recipe.chat_template === undefined ? {} : { chat_template: recipe.chat_template };
  writeFileSync(
    join(folder, "tokenizer_config.json"),
    JSON.stringify({ tokenizer_class: "PreTrainedTokenizerFast", eos_token: "</s>", ...template }),
  );
}
