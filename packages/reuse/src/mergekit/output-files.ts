import { existsSync } from "node:fs";
import { join } from "node:path";
import type { DType } from "@lfm/core";
import { CONFIG_FLOATS, floatsOf, formatJson, parseJson, readJsonObject } from "@lfm/formats";
import type { MergeMethod } from "../merging/merge-method.js";
import { chatTemplate } from "./chat-template.js";
import type { MergeDocument } from "./document.js";
import { isHead } from "./layout.js";
import { modelCard } from "./model-card.js";
import type { ModelFiles } from "./model-files.js";
import { type PlannedModule, stackOf } from "./slices.js";
import type { MergedVocabulary } from "./vocabulary.js";

export interface OutputFiles {
  /** Name → content. */
  readonly texts: Readonly<Record<string, string>>;
  /** Name → file that is copied. */
  readonly copies: Readonly<Record<string, string>>;
  readonly notes: readonly string[];
}

export interface OutputFacts {
  readonly document: MergeDocument;
  readonly method: MergeMethod;
  readonly modules: readonly PlannedModule[];
  /** The base, or the first model: its files are the pattern. */
  readonly donor: ModelFiles;
  readonly models: readonly ModelFiles[];
  readonly base?: ModelFiles;
  readonly vocabulary?: MergedVocabulary;
  /** Rows of the result's vocabulary, where they are not the donor's. */
  readonly rows?: number;
  readonly dtype?: DType;
  /** Names of the tensors of the result. */
  readonly names: readonly string[];
  readonly untied: readonly string[];
}

/** Everything beside the weights: config.json, tokenizer, generation settings, the configuration that made them, and a card. */
export function outputFiles(facts: OutputFacts): OutputFiles {
  const notes: string[] = [];
  const { donor, vocabulary, document, models, method, base } = facts;
  const texts: Record<string, string> = {
    "config.json": json(outputConfig(facts, notes), new Set([...CONFIG_FLOATS, ...floatsOf(donor.config)])),
    "mergekit_config.yml": document.text,
    "README.md": modelCard(document, method, models, base),
  };
  const copies: Record<string, string> = {};
  const copy = (from: string, names: readonly string[]): void => {
    for (const name of names) if (existsSync(join(from, name))) copies[name] = join(from, name);
  };
  copy(donor.folder, ["generation_config.json", "preprocessor_config.json", "processor_config.json"]);
  const owner = vocabulary?.owner ?? donor;
  if (!vocabulary || vocabulary.unchanged) copy(owner.tokenizerFolder, [...owner.tokenizerFiles, "chat_template.json"]);
  else {
    // Files of the slow tokenizer would contradict the new tokenizer.json.
    copy(owner.tokenizerFolder, ["special_tokens_map.json", "tokenizer_config.json", "chat_template.jinja", "chat_template.json"]);
    texts["tokenizer.json"] = json(vocabulary.tokenizer.json);
    if ("tokenizer_config.json" in copies) {
      texts["tokenizer_config.json"] = json(withAddedTokens(readJsonObject(copies["tokenizer_config.json"]!), vocabulary));
      delete copies["tokenizer_config.json"];
    }
  }
  const template = chatTemplate(document, models);
  if (template !== undefined) setChatTemplate(template, texts, copies);
  else if (document.chatTemplate !== undefined) notes.push("chat_template: auto finds no template in any model");
  return { texts, copies, notes };
}

const json = (value: unknown, floats?: ReadonlySet<string>): string =>
  `${formatJson(value, { indent: 2, ...(floats ? { floats } : {}) })}\n`;

/** config.json of the donor with what the merge changes, as mergekit 0.1.5. */
function outputConfig({ document, modules, donor, rows, dtype, untied, names }: OutputFacts, notes: string[]): Record<string, unknown> {
  const config = structuredClone(donor.config) as Record<string, unknown>;
  const asked = document.outDtype ?? document.dtype;
  if (asked !== undefined && dtype !== undefined)
    config["dtype" in config || !("torch_dtype" in config) ? "dtype" : "torch_dtype"] = TORCH[dtype] ?? asked;
  for (const module of modules) {
    const layers = module.slices.reduce((n, s) => n + s.layers, 0);
    const own = stackOf(donor, module.name);
    if (!own || (document.body.kind === "models" && layers === own.count)) continue;
    const place = layerKey(config, module.name, own.count);
    if (!place) {
      notes.push(`config.json says nowhere how many layers ${module.name} has: it has ${layers} now`);
      continue;
    }
    place.section[place.key] = layers;
    takeLayerLists(place.section, module, own.count, notes);
  }
  if (rows !== undefined) {
    const text = config.text_config as Record<string, unknown> | undefined;
    (text && "vocab_size" in text && !("vocab_size" in config) ? text : config).vocab_size = rows;
  }
  if (untied.length > 0 && names.some(isHead)) {
    config.tie_word_embeddings = false;
    notes.push(
      `${untied.map((m) => `"${m}"`).join(", ")} had no output layer of its own: its embedding took part, and the result has one (tie_word_embeddings: false)`,
    );
  }
  return config;
}

const TORCH: Readonly<Partial<Record<DType, string>>> = { f32: "float32", f16: "float16", bf16: "bfloat16", f64: "float64" };

const LAYER_KEYS = [
  "num_hidden_layers",
  "n_layer",
  "num_layers",
  "n_layers",
  "num_decoder_layers",
  "decoder_layers",
  "encoder_layers",
  "depth",
];

/** Where a config counts the layers of a module: the key that has the module's count, the best named one first. */
function layerKey(
  config: Record<string, unknown>,
  module: string,
  count: number,
): { section: Record<string, unknown>; key: string } | undefined {
  const sections = [config, ...["text_config", "vision_config", "audio_config"].map((k) => config[k])].filter(
    (s) => typeof s === "object" && s !== null,
  );
  const places = (sections as Record<string, unknown>[]).flatMap((section) =>
    LAYER_KEYS.filter((key) => typeof section[key] === "number").map((key) => ({ section, key })),
  );
  const part = /decoder/.test(module) ? "decoder" : /encoder/.test(module) ? "encoder" : /vis/.test(module) ? "vision" : "";
  const fits = ({ section, key }: (typeof places)[number]): number =>
    (section[key] === count ? 4 : 0) +
    (part !== "" && (key.includes(part) || section === config[`${part}_config`]) ? 2 : 0) -
    (part === "encoder" && key.includes("decoder") ? 2 : 0);
  return places.sort((a, b) => fits(b) - fits(a))[0];
}

/** Lists with one entry per layer (`layer_types`) follow the layers; those of the first source of a slice, as the count does. */
function takeLayerLists(section: Record<string, unknown>, module: PlannedModule, count: number, notes: string[]): void {
  for (const [key, value] of Object.entries(section)) {
    if (!Array.isArray(value) || value.length !== count || !/layer|block/.test(key)) continue;
    section[key] = module.slices.flatMap(({ sources, layers }) =>
      Array.from({ length: layers }, (_, i) => (value as unknown[])[sources[0]!.from + i] ?? (value as unknown[]).at(-1)),
    );
    notes.push(`config.json: ${key} follows the layers`);
  }
}

function withAddedTokens(config: Record<string, unknown>, { tokenizer }: MergedVocabulary): Record<string, unknown> {
  if (!("added_tokens_decoder" in config)) return config;
  return {
    ...config,
    added_tokens_decoder: Object.fromEntries(tokenizer.json.added_tokens.map(({ id, ...token }) => [String(id), token])),
  };
}

/** transformers looks into chat_template.jinja before it looks into tokenizer_config.json: the template stands there alone. */
function setChatTemplate(template: string, texts: Record<string, string>, copies: Record<string, string>): void {
  texts["chat_template.jinja"] = template;
  delete copies["chat_template.jinja"];
  delete copies["chat_template.json"];
  const from = copies["tokenizer_config.json"];
  const config = texts["tokenizer_config.json"] ?? (from === undefined ? undefined : formatJson(readJsonObject(from)));
  if (config === undefined) return;
  const { chat_template: _, ...rest } = parseJson(config) as Record<string, unknown>;
  texts["tokenizer_config.json"] = json(rest);
  delete copies["tokenizer_config.json"];
}
