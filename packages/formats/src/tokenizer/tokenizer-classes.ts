import { LfmError, nearestName } from "@lfm/core";

/** The content of a tokenizer.json without its added tokens, and the special tokens that a class has by itself. */
interface Recipe {
  readonly model: Readonly<Record<string, unknown>>;
  readonly normalizer: object | null;
  readonly pre_tokenizer: object | null;
  readonly decoder: object;
  /** "ends": the class leaves it to `add_bos_token` and `add_eos_token`. */
  readonly post_processor: object | "ends";
}

/** What a class reads its vocabulary from. */
export interface Vocabulary {
  readonly vocab: Readonly<Record<string, number>> | readonly (readonly [string, number])[];
  readonly merges: readonly (readonly [string, string])[];
  readonly unkId: number;
  readonly charsmap: string | undefined;
}

type Config = Readonly<Record<string, unknown>>;

/** A class of tokenizers of transformers. */
export interface TokenizerClass {
  /** Files of its vocabulary. */
  readonly files: readonly string[];
  /** Special tokens by their names in configs, unless the folder says otherwise. */
  readonly specials: Readonly<Record<string, string>>;
  /** SentencePiece: tokens around the pieces of the file. */
  readonly arrange?: (pieces: readonly (readonly [string, number])[], config: Config) => readonly (readonly [string, number])[];
  /** Further tokens that stand for themselves. */
  readonly own?: (config: Config) => readonly string[];
  /** SentencePiece: what the pieces are for. */
  readonly pieces?: "bpe" | "unigram";
  recipe(vocabulary: Vocabulary, config: Config, idOf: (token: string) => number): Recipe;
}

const BYTE_LEVEL_FILES = ["vocab.json", "merges.txt"];
const QWEN2 =
  "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+";

const byteLevel = (prefix: boolean, regex = true): object => ({
  type: "ByteLevel",
  add_prefix_space: prefix,
  trim_offsets: true,
  use_regex: regex,
});
const byteLevelModel = ({ vocab, merges }: Vocabulary): Recipe["model"] => ({
  type: "BPE",
  vocab,
  merges,
  fuse_unk: false,
  byte_fallback: false,
});
const yes = (config: Config, key: string, byDefault: boolean): boolean => {
  const value = config[key];
  return typeof value === "boolean" ? value : byDefault;
};

/** A token of a config: its text, or an object with `content`. */
export function tokenText(value: unknown): string | undefined {
  const text = typeof value === "object" && value !== null ? (value as { readonly content?: unknown }).content : value;
  return typeof text === "string" ? text : undefined;
}

/** `[CLS] $A [SEP] $B:1 [SEP]:1` as tokenizer.json has it. */
export function template(single: string, pair: string, idOf: (token: string) => number): object {
  const steps = (text: string): object[] =>
    text
      .trim()
      .split(/\s+/)
      .map((part) => {
        const [, id, type] = /^(.*?)(?::(\d))?$/.exec(part)!;
        const at = Number(type ?? 0);
        return id === "$A" || id === "$B" ? { Sequence: { id: id[1], type_id: at } } : { SpecialToken: { id, type_id: at } };
      });
  const names = new Set(
    [...single.trim().split(/\s+/), ...pair.trim().split(/\s+/)].map((p) => p.replace(/:\d$/, "")).filter((p) => !/^\$[AB]$/.test(p)),
  );
  const tokens = Object.fromEntries([...names].map((name) => [name, { id: name, ids: [idOf(name)], tokens: [name] }]));
  return { type: "TemplateProcessing", single: steps(single), pair: steps(pair), special_tokens: tokens };
}

const bert: TokenizerClass = {
  files: ["vocab.txt"],
  specials: { unk: "[UNK]", sep: "[SEP]", pad: "[PAD]", cls: "[CLS]", mask: "[MASK]" },
  recipe: ({ vocab }, config, idOf) => {
    const [cls, sep] = [tokenText(config.cls_token)!, tokenText(config.sep_token)!];
    return {
      model: {
        type: "WordPiece",
        vocab,
        unk_token: tokenText(config.unk_token),
        continuing_subword_prefix: "##",
        max_input_chars_per_word: 100,
      },
      normalizer: {
        type: "BertNormalizer",
        clean_text: true,
        handle_chinese_chars: yes(config, "tokenize_chinese_chars", true),
        strip_accents: typeof config.strip_accents === "boolean" ? config.strip_accents : null,
        lowercase: yes(config, "do_lower_case", true),
      },
      pre_tokenizer: { type: "BertPreTokenizer" },
      decoder: { type: "WordPiece", prefix: "##", cleanup: true },
      post_processor: template(`${cls} $A ${sep}`, `${cls} $A ${sep} $B:1 ${sep}:1`, idOf),
    };
  },
};

const gpt2: TokenizerClass = {
  files: BYTE_LEVEL_FILES,
  specials: { unk: "<|endoftext|>", bos: "<|endoftext|>", eos: "<|endoftext|>" },
  recipe: (vocabulary, config) => ({
    model: byteLevelModel(vocabulary),
    normalizer: null,
    pre_tokenizer: byteLevel(yes(config, "add_prefix_space", false)),
    decoder: byteLevel(true),
    post_processor: "ends",
  }),
};

const roberta: TokenizerClass = {
  files: BYTE_LEVEL_FILES,
  specials: { bos: "<s>", eos: "</s>", sep: "</s>", cls: "<s>", unk: "<unk>", pad: "<pad>", mask: "<mask>" },
  recipe: (vocabulary, config, idOf) => {
    const prefix = yes(config, "add_prefix_space", false);
    const [cls, sep] = [tokenText(config.cls_token)!, tokenText(config.sep_token)!];
    return {
      model: byteLevelModel(vocabulary),
      normalizer: null,
      pre_tokenizer: byteLevel(prefix),
      decoder: byteLevel(true),
      post_processor: {
        type: "RobertaProcessing",
        sep: [sep, idOf(sep)],
        cls: [cls, idOf(cls)],
        trim_offsets: true,
        add_prefix_space: prefix,
      },
    };
  },
};

const qwen2: TokenizerClass = {
  files: BYTE_LEVEL_FILES,
  specials: { unk: "<|endoftext|>", eos: "<|endoftext|>", pad: "<|endoftext|>" },
  recipe: (vocabulary, config) => ({
    model: byteLevelModel(vocabulary),
    normalizer: { type: "NFC" },
    pre_tokenizer: {
      type: "Sequence",
      pretokenizers: [
        { type: "Split", pattern: { Regex: QWEN2 }, behavior: "Isolated", invert: false },
        byteLevel(yes(config, "add_prefix_space", false), false),
      ],
    },
    decoder: byteLevel(true),
    post_processor: "ends",
  }),
};

/** "▁" back to spaces, bytes to characters, and where texts begin with a space that was not there, without it. */
const spacesBack = (dummy: boolean): object => ({
  type: "Sequence",
  decoders: [
    { type: "Replace", pattern: { String: "▁" }, content: " " },
    { type: "ByteFallback" },
    { type: "Fuse" },
    ...(dummy ? [{ type: "Strip", content: " ", start: 1, stop: 0 }] : []),
  ],
});

const llama: TokenizerClass = {
  files: ["tokenizer.model"],
  pieces: "bpe",
  specials: { unk: "<unk>", bos: "<s>", eos: "</s>" },
  recipe: ({ vocab, merges }, config) => {
    const dummy = yes(config, "add_prefix_space", true);
    const scheme = yes(config, "legacy", false) ? "always" : "first";
    return {
      model: { type: "BPE", vocab, merges, fuse_unk: true, byte_fallback: true },
      normalizer: null,
      pre_tokenizer: { type: "Metaspace", replacement: "▁", prepend_scheme: dummy ? scheme : "never", split: false },
      decoder: spacesBack(dummy),
      post_processor: "ends",
    };
  },
};

const gemma: TokenizerClass = {
  files: ["tokenizer.model"],
  pieces: "bpe",
  specials: { unk: "<unk>", bos: "<bos>", eos: "<eos>", pad: "<pad>", mask: "<mask>" },
  recipe: ({ vocab, merges }, config) => ({
    model: { type: "BPE", vocab, merges, unk_token: tokenText(config.unk_token), fuse_unk: true, byte_fallback: true },
    normalizer: { type: "Replace", pattern: { String: " " }, content: "▁" },
    pre_tokenizer: { type: "Split", pattern: { String: " " }, behavior: "MergedWithPrevious", invert: false },
    decoder: spacesBack(false),
    post_processor: "ends",
  }),
};

const unigram = ({ vocab, unkId, charsmap }: Vocabulary): Omit<Recipe, "post_processor"> => ({
  model: { type: "Unigram", vocab, unk_id: unkId, byte_fallback: false },
  normalizer: charsmap === undefined ? null : { type: "Precompiled", precompiled_charsmap: charsmap },
  pre_tokenizer: {
    type: "Sequence",
    pretokenizers: [{ type: "WhitespaceSplit" }, { type: "Metaspace", replacement: "▁", prepend_scheme: "always", split: true }],
  },
  decoder: { type: "Metaspace", replacement: "▁", prepend_scheme: "always", split: true },
});

/** How many `<extra_id_…>` T5 has. */
const extraIds = ({ extra_ids: given }: Config): number => {
  if (given === undefined || given === null) return 100;
  if (typeof given === "number" && Number.isInteger(given) && given >= 0 && given < 2 ** 16) return given;
  throw new LfmError("FILE_FORMAT", `[@lfm/formats] tokenizer_config.json: extra_ids: ${JSON.stringify(given)} is no number of tokens`, {
    hint: "T5 has extra_ids: 100",
  });
};

const t5: TokenizerClass = {
  files: ["spiece.model"],
  pieces: "unigram",
  specials: { eos: "</s>", unk: "<unk>", pad: "<pad>" },
  arrange: (pieces, config) => [
    ...pieces,
    ...Array.from({ length: extraIds(config) }, (_, i) => [`<extra_id_${extraIds(config) - 1 - i}>`, 0] as const),
  ],
  own: (config) => Array.from({ length: extraIds(config) }, (_, i) => `<extra_id_${i}>`),
  recipe: (vocabulary, _config, idOf) => ({
    ...unigram({ ...vocabulary, unkId: 2 }),
    post_processor: template("$A </s>", "$A </s> $B </s>", idOf),
  }),
};

const xlmRoberta: TokenizerClass = {
  files: ["sentencepiece.bpe.model"],
  pieces: "unigram",
  specials: roberta.specials,
  arrange: (pieces, config) => [
    ...["bos", "pad", "eos", "unk"].map((name) => [tokenText(config[`${name}_token`])!, 0] as const),
    ...pieces.slice(3),
    [tokenText(config.mask_token)!, 0],
  ],
  recipe: (vocabulary, config, idOf) => {
    const [bos, eos] = [tokenText(config.bos_token)!, tokenText(config.eos_token)!];
    return {
      ...unigram({ ...vocabulary, unkId: 3 }),
      post_processor: template(`${bos} $A ${eos}`, `${bos} $A ${eos} ${eos} $B ${eos}`, idOf),
    };
  },
};

/** By the name in tokenizer_config.json, without the "Fast" that some have. */
const classes: Readonly<Record<string, TokenizerClass>> = {
  BertTokenizer: bert,
  DistilBertTokenizer: bert,
  ElectraTokenizer: bert,
  GPT2Tokenizer: gpt2,
  RobertaTokenizer: roberta,
  Qwen2Tokenizer: qwen2,
  LlamaTokenizer: llama,
  GemmaTokenizer: gemma,
  T5Tokenizer: t5,
  XLMRobertaTokenizer: xlmRoberta,
};

/** By the `model_type` of config.json, where no tokenizer_config.json names a class. */
const byModel: Readonly<Record<string, string>> = {
  bert: "BertTokenizer",
  distilbert: "BertTokenizer",
  electra: "BertTokenizer",
  gpt2: "GPT2Tokenizer",
  roberta: "RobertaTokenizer",
  qwen2: "Qwen2Tokenizer",
  qwen3: "Qwen2Tokenizer",
  llama: "LlamaTokenizer",
  mistral: "LlamaTokenizer",
  mixtral: "LlamaTokenizer",
  gemma: "GemmaTokenizer",
  gemma2: "GemmaTokenizer",
  t5: "T5Tokenizer",
  "xlm-roberta": "XLMRobertaTokenizer",
};

/**
 * The class that reads a folder's vocabulary files.
 * @throws {LfmError} CAPABILITY_MISSING naming it, with the line that makes a tokenizer.json
 */
export function tokenizerClass(folder: string, named: unknown, modelType: unknown): TokenizerClass {
  const name =
    typeof named === "string"
      ? named.replace(/Fast$/, "")
      : typeof modelType === "string" && Object.hasOwn(byModel, modelType)
        ? byModel[modelType]
        : undefined;
  if (name !== undefined && Object.hasOwn(classes, name)) return classes[name]!;
  const near = name === undefined ? undefined : nearestName(name, Object.keys(classes));
  throw new LfmError(
    "CAPABILITY_MISSING",
    `[@lfm/formats] ${folder} has vocabulary files and no tokenizer.json, and ${
      name === undefined ? "nothing says which tokenizer they are for" : `the tokenizer ${name} is not known here`
    }${near ? ` (the nearest is ${near})` : ""}`,
    {
      hint: `python -c 'from transformers import AutoTokenizer as T; T.from_pretrained("${folder}").save_pretrained("${folder}")' writes one`,
    },
  );
}
