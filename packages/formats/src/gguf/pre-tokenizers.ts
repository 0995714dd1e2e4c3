/**
 * How texts are cut into words before byte-level BPE, by `tokenizer.ggml.pre`. The file holds a name only; what it stands for is the pre-tokenizer of
 * the tokenizer.json that the model was published with.
 */
export interface PreTokenizer {
  /** The `pre_tokenizer` of tokenizer.json. */
  readonly steps: readonly Readonly<Record<string, unknown>>[];
  readonly normalizer?: Readonly<Record<string, unknown>>;
  /** Words of the vocabulary stay whole, whatever the merges say. */
  readonly ignoreMerges?: true;
  /** Whether a bos comes first where the file does not say. */
  readonly addBos?: true;
}

const bytes = (own: boolean): Readonly<Record<string, unknown>> => ({
  type: "ByteLevel",
  add_prefix_space: false,
  trim_offsets: true,
  use_regex: own,
});

/** Words are what the pattern matches. */
const split = (pattern: string): readonly Readonly<Record<string, unknown>>[] => [
  { type: "Split", pattern: { Regex: pattern }, behavior: "Isolated", invert: false },
  bytes(false),
];

const contractions = "(?i:'s|'t|'re|'ve|'m|'ll|'d)";
const rest = String.raw` ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+`;
const word = String.raw`[^\r\n\p{L}\p{N}]?\p{L}+`;
/** Words in one case, or beginning with capitals, as o200k and Tekken have them. */
const upper = String.raw`[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]`;
const lower = String.raw`[\p{Ll}\p{Lm}\p{Lo}\p{M}]`;
const cased = (end: string): string => String.raw`[^\r\n\p{L}\p{N}]?${upper}*${lower}+${end}|[^\r\n\p{L}\p{N}]?${upper}+${lower}*${end}`;
const casedRest = String.raw` ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+`;

const gpt2: PreTokenizer = { steps: [bytes(true)] };
const digits: PreTokenizer = { steps: [{ type: "Digits", individual_digits: true }, bytes(true)] };
const nfc = { type: "NFC" };
const cl100k: PreTokenizer = { steps: split(`${contractions}|${word}|\\p{N}{1,3}|${rest}`) };
const llama3: PreTokenizer = { ...cl100k, ignoreMerges: true, addBos: true };
const qwen: PreTokenizer = { steps: split(`${contractions}|${word}|\\p{N}|${rest}`) };
const tekken: PreTokenizer = { steps: split(`${cased("")}|\\p{N}|${casedRest}`), ignoreMerges: true, addBos: true };
const gpt4o: PreTokenizer = { steps: split(`${cased(`${contractions}?`)}|\\p{N}{1,3}|${casedRest}`) };

/** By the names that llama.cpp's converter writes. */
export const preTokenizers: Readonly<Record<string, PreTokenizer>> = {
  "gpt-2": gpt2,
  "phi-2": gpt2,
  mpt: gpt2,
  olmo: gpt2,
  jais: gpt2,
  smollm: digits,
  starcoder: digits,
  refact: digits,
  "command-r": { ...digits, normalizer: nfc },
  codeshell: digits,
  exaone: digits,
  "llama-bpe": llama3,
  llama3,
  "llama-v3": llama3,
  "smaug-bpe": llama3,
  dbrx: cl100k,
  qwen2: { ...qwen, normalizer: nfc },
  "deepseek-r1-qwen": qwen,
  tekken,
  "gpt-4o": gpt4o,
};
