import type { GgufFacts } from "./gguf-facts.js";
import { preTokenizers } from "./pre-tokenizers.js";
import { mergesOfScores } from "./score-merges.js";
import { readVocabulary, tokenKind, type Vocabulary } from "./vocabulary.js";

type Json = Readonly<Record<string, unknown>>;

/** What a folder says of its tokens. */
export interface TokenizerFiles {
  readonly tokenizer: Json;
  readonly tokenizerConfig: Json;
  readonly generationConfig: Json;
  /** What config.json repeats. */
  readonly config: Json;
}

/** What depends on the kind of vocabulary. */
interface Kind {
  readonly model: Json;
  readonly normalizer: Json | null;
  readonly preTokenizer: Json | null;
  readonly decoder: Json;
  readonly addBos: boolean;
}

/**
 * The tokenizer of a GGUF file as Hugging Face's: ids of texts are those of the tokenizer that the file was made with.
 * @param vocabSize rows of the embedding
 * @returns undefined for a file without one
 * @throws {LfmError} FILE_FORMAT for a kind that is not known
 */
export function describeTokenizer(facts: GgufFacts, vocabSize: number): TokenizerFiles | undefined {
  const model = facts.text("tokenizer.ggml.model");
  if (model === undefined || model === "none" || model === "no_vocab") return undefined;
  const vocabulary = readVocabulary(facts, vocabSize);
  const kind = kindOf(facts, model, vocabulary);
  const { ids, tokens } = vocabulary;
  const [first, last] = [(vocabulary.addBos ?? kind.addBos) ? ids.bos : undefined, vocabulary.addEos === true ? ids.eos : undefined];
  const ends = [...new Set([ids.eos, ids.eot, ids.eom].filter((id) => id !== undefined))];
  const config = {
    ...(ids.bos === undefined ? {} : { bos_token_id: ids.bos }),
    ...(ends.length === 0 ? {} : { eos_token_id: ends.length === 1 ? ends[0] : ends }),
    ...(ids.pad === undefined ? {} : { pad_token_id: ids.pad }),
  };
  const template = chatTemplateOf(facts);
  const length = facts.size(`${facts.text("general.architecture")}.context_length`);
  const named = (["bos", "eos", "unk", "pad", "sep", "cls", "mask"] as const).filter((role) => ids[role] !== undefined);
  return {
    tokenizer: {
      version: "1.0",
      truncation: null,
      padding: null,
      added_tokens: addedTokens(vocabulary),
      normalizer: kind.normalizer,
      pre_tokenizer: kind.preTokenizer,
      post_processor: first === undefined && last === undefined ? null : around(tokens, first, last),
      decoder: kind.decoder,
      model: kind.model,
    },
    tokenizerConfig: {
      tokenizer_class: "PreTrainedTokenizerFast",
      clean_up_tokenization_spaces: false,
      add_prefix_space: false,
      add_bos_token: first !== undefined,
      add_eos_token: last !== undefined,
      ...Object.fromEntries(named.map((role) => [`${role}_token`, tokens[ids[role]!]])),
      ...(length === undefined ? {} : { model_max_length: length }),
      ...(template === undefined ? {} : { chat_template: template }),
    },
    generationConfig: config,
    config,
  };
}

/** One template, or a list with the others by their names, as tokenizer_config.json has them. */
function chatTemplateOf(facts: GgufFacts): string | readonly Json[] | undefined {
  const whole = facts.text("tokenizer.chat_template");
  const named = (facts.texts("tokenizer.chat_templates") ?? []).map((name) => {
    const key = `tokenizer.chat_template.${name}`;
    return { name, template: facts.need(key, facts.text(key)) };
  });
  if (named.length === 0) return whole;
  return whole === undefined ? named : [{ name: "default", template: whole }, ...named];
}

function kindOf(facts: GgufFacts, model: string, vocabulary: Vocabulary): Kind {
  if (model === "gpt2") return byteLevel(facts, vocabulary);
  if (model === "llama") return sentencePiece(facts, vocabulary);
  throw facts.fail(
    `a tokenizer of the kind "${model}" is not known`,
    "what converts: byte-level BPE (gpt2) and SentencePiece's BPE (llama)",
  );
}

const BPE = { type: "BPE", dropout: null, continuing_subword_prefix: null, end_of_word_suffix: null };

function byteLevel(facts: GgufFacts, { tokens, kinds }: Vocabulary): Kind {
  const pre = facts.text("tokenizer.ggml.pre") ?? "gpt-2";
  const known = Object.hasOwn(preTokenizers, pre) ? preTokenizers[pre] : undefined;
  if (!known)
    throw facts.fail(
      `words are cut in the way "${pre}" before BPE, which is not known`,
      `what converts: ${Object.keys(preTokenizers).join(", ")}; or put the model's own tokenizer.json into the folder: --no-tokenizer`,
    );
  const merges = facts.need("tokenizer.ggml.merges", facts.texts("tokenizer.ggml.merges")).map((m) => {
    // The second part may begin with a space of its own; the first never is one.
    const at = m.indexOf(" ", 1);
    if (at < 0 || at === m.length - 1) throw facts.fail(`the merge ${JSON.stringify(m)} has no two parts`);
    return [m.slice(0, at), m.slice(at + 1)];
  });
  // Rows that a converter filled up; the tokenizer never had them.
  const vocab = Object.fromEntries(tokens.map((t, id) => [t, id] as const).filter(([, id]) => kinds[id] !== tokenKind.unused));
  return {
    model: { ...BPE, unk_token: null, fuse_unk: false, byte_fallback: false, ignore_merges: known.ignoreMerges ?? false, vocab, merges },
    normalizer: known.normalizer ?? null,
    preTokenizer: { type: "Sequence", pretokenizers: known.steps },
    decoder: { type: "ByteLevel", add_prefix_space: true, trim_offsets: true, use_regex: true },
    addBos: known.addBos ?? false,
  };
}

/** What SentencePiece writes for a space. */
const SPACE = "▁";

function sentencePiece(facts: GgufFacts, { tokens, kinds, ids }: Vocabulary): Kind {
  const scores = facts.need("tokenizer.ggml.scores", facts.numbers("tokenizer.ggml.scores"));
  if (scores.length !== tokens.length) throw facts.fail(`${tokens.length} tokens have ${scores.length} scores`);
  if (facts.flag("tokenizer.ggml.remove_extra_whitespaces") === true) throw facts.fail("a tokenizer that takes spaces away is not known");
  const prefix = facts.flag("tokenizer.ggml.add_space_prefix") ?? true;
  const replace = { type: "Replace", pattern: { String: " " }, content: SPACE };
  const unknown = ids.unk ?? kinds.indexOf(tokenKind.unknown);
  return {
    model: {
      ...BPE,
      unk_token: tokens[unknown] ?? null,
      fuse_unk: true,
      byte_fallback: kinds.includes(tokenKind.byte),
      ignore_merges: false,
      vocab: Object.fromEntries(tokens.map((t, id) => [t, id])),
      merges: mergesOfScores(tokens, scores, (id) => kinds[id] === tokenKind.normal || kinds[id] === tokenKind.unused),
    },
    normalizer: prefix ? { type: "Sequence", normalizers: [{ type: "Prepend", prepend: SPACE }, replace] } : replace,
    preTokenizer: null,
    decoder: {
      type: "Sequence",
      decoders: [
        { type: "Replace", pattern: { String: SPACE }, content: " " },
        { type: "ByteFallback" },
        { type: "Fuse" },
        ...(prefix ? [{ type: "Strip", content: " ", start: 1, stop: 0 }] : []),
      ],
    },
    addBos: true,
  };
}

function addedTokens({ tokens, kinds }: Vocabulary): readonly Json[] {
  const added: Json[] = [];
  for (const [id, content] of tokens.entries()) {
    const kind = kinds[id];
    if (kind !== tokenKind.control && kind !== tokenKind.user && kind !== tokenKind.unknown) continue;
    added.push({ id, content, single_word: false, lstrip: false, rstrip: false, normalized: false, special: kind !== tokenKind.user });
  }
  return added;
}

/** Puts a token in front of each text, or behind it. */
function around(tokens: readonly string[], first: number | undefined, last: number | undefined): Json {
  const piece = (id: number | undefined, type: number): readonly Json[] =>
    id === undefined ? [] : [{ SpecialToken: { id: tokens[id], type_id: type } }];
  const text = (id: "A" | "B", type: number): readonly Json[] => [
    ...piece(first, type),
    { Sequence: { id, type_id: type } },
    ...piece(last, type),
  ];
  const used = [...new Set([first, last].filter((id) => id !== undefined))];
  return {
    type: "TemplateProcessing",
    single: text("A", 0),
    pair: [...text("A", 0), ...text("B", 1)],
    special_tokens: Object.fromEntries(used.map((id) => [tokens[id], { id: tokens[id], ids: [id], tokens: [tokens[id]] }])),
  };
}
